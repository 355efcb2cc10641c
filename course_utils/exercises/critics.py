"""Exercises of lesson 07: labels, critics and their penalties, hinge losses, spectral norms and growth."""
