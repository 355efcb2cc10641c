"""What goes into a grading box, and nothing else: it imports nothing of the course outside this folder."""
