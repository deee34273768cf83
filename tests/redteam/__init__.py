"""Attempts to get past a defence of the stack, by area, and the count of those that succeed.

`python -m tests.redteam` runs every attempt of every area in a scratch folder. An attempt returns
what got through, or None when the defence held. Then each area runs once more with its defence
replaced (its planted hole): if no attempt gets through the hole, the attempts cannot fail and the
area is reported as blind.
"""
