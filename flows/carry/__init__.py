"""Accept results for edited code by proof: the old and the new code run the first steps and end in the same state, bit by bit.

Read ``carry`` first; ``probe`` is the program that runs one code, ``states`` compares the two states.
"""
