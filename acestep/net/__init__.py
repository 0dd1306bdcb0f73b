"""Files that a stranger names: `data:` URIs and URLs become files on this disk, or one sentence says why not.

    text of an input --data_uri--> bytes
                     --url--> host, judged addresses --fetch--> a file within limits

Nothing here knows what the files are for, or which door they came through.
"""
