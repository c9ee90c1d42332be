COPY @schema@.identities (log, generation, resource, name, value, owner) FROM STDIN (FORMAT binary)
