"""Trainings that can be interrupted: what is kept of one, what it loses, and what it leaves behind when it diverged."""
