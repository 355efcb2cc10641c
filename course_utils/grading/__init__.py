"""Grading that can be trusted: student code runs in a box, scores are made outside of it. See `docs/grading.md`."""
