"""Black-box conformance: suites and the phantom maker. Speaks only the wire and files; imports nothing of the house."""
