"""How good trained weights are: what a user would get from them, heard by analysers that are none of our networks.

    songs (held out) --studio (plays)--> sound --measures (listen)--> observations --rows (score)--> report

``python -m acestep.training.evaluate`` runs it.
"""
