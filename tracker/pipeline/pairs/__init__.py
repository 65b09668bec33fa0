"""Geofences around assets: what is told to whoever judges pairs (register), how pairs are judged (judge), what is told
of them (telling).
"""
