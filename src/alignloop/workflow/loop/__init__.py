"""The loop of a project: what is there, what comes next, and doing it, up to the next stage that needs a person.

`facts` looks, `steps` decides (a pure function of what was seen), `act` does one step, `drive` repeats the three.
"""
