"""Run lessons headless, and tell what came of them: `runner.run_lessons`."""
