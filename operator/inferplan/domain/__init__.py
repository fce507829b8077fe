"""Values and words of inferplan; standard library only.

Every other package speaks in these types. Units end the names: bytes, seconds, tokens, FLOP, USD.
"""
