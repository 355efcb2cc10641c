"""Helpers for the course's notebooks: runtime, data, training, plots, widgets, evaluate, exercises."""
