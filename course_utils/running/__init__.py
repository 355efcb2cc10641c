"""Run lessons headless, and tell what came of them."""
