"""The half by bytes: entries drawn at random as ``Budget`` draws them; sizes and scales learned.

================  ====================================================================
``units.py``      ``BytesUnits``: all units, drawn anew at every step; what is stored
``frontier.py``   what a number of bytes buys of one unit; finding the level of a budget
``products.py``   products in the place of what is learned, for the examples to judge
``gradients.py``  what a gradient says of a unit's scale and of the noise of drawing
================  ====================================================================
"""
