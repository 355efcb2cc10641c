"""The exercises of each lesson, one module a notebook."""
