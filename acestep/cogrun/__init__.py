"""Runs the Cog model of this repository without Docker: its static schema, its real HTTP runtime, `./script/predict`.

    predict.py --static--> Signature --schema--> OpenAPI document --server--> real Cog runtime on loopback
    command line --inputs--> values --client--> prediction --exchange--> one finished file

The package drives `predict.py` from outside, over HTTP, as Replicate does. It never imports it, and it refuses to
know what the inputs mean.
"""
