"""Programs that answer with a model as it left the house: one file that needs the runtime alone.

A task says how its inputs are read and its answers written (`Task.program`); `program` puts a file together of the two.
"""
