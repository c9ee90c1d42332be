COPY @schema@.records (log, generation, revision, resource, id, attributes, identities) FROM STDIN (FORMAT binary)
