"""Checks of the exercises, one module per notebook: ``check_…(your_function)`` raises a hint or answers with one line.

Inputs are small enough to work out by hand, and each check holds at least one case that the most common mistake gets
wrong. Write a new one with `call`, `expect_close` and `expect_equal`; put its solution into ``notebooks/solutions``.
"""
