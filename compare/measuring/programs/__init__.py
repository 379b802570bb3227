"""A program that writes programs: right training programs in random style, and the same with one mistake planted."""
