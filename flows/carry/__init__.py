"""Results carried over to edited code by proof: the old and the new code run the first steps, and end in the same bits.

Read ``carry`` first; ``probe`` is the program that runs one code, ``states`` compares what the two left.
"""
