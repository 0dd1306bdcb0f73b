"""The REST door: ``acestep-server``, music over plain HTTP. Needs the extra ``server`` (FastAPI, uvicorn).

    options -> Station (opened once: folders, models, queue) -> app (endpoints)
    body --fields, mapping--> parameters --counter--> Order --jobs--> engine --outputs--> files --replies--> answer

One thread owns the models and makes one order after the other; everything that can be wrong with a request is told
before it waits. Nothing in this package knows how music is made.
"""
