"""A simulated fleet: who moves, where, and what their imperfect receivers say of it.

Everything here but `simulate` is pure: a position is a function of (seed, time), never of a clock or a socket.
"""
