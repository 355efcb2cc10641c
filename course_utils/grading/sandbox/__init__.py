"""A box that a student's code cannot get out of."""
