"""The command line `course`, and the work behind its commands."""
