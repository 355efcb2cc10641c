"""Exercises of lesson 06: the two players' losses, the best discriminator, one step of it, DCGAN's first weights, and counting modes."""
