"""Moving and resting: stops and trips as functions of an asset's trusted fixes, whatever order they came in.

`docs/motion.md` is the definition. `rest` says which fixes rest, `stay` joins them, `stops` and `trips` add them up,
`line` is what trips are measured by, `survey` reads it all as one stream, `state` says what the newest fixes mean.
"""
