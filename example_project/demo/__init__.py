"""`make demo`: the shop on a Polar of its own, with people, orders, and a page of what can go wrong.

Nothing of this is for a shop to copy; that is all in the shop's own modules, which know nothing of this one.
"""
