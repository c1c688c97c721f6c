"""FHIR search: a file for each type of search parameter that indexes, finds and matches.

https://hl7.org/fhir/R4/search.html. Every file offers ``entries`` (index rows from a value), ``parse`` (an operand from
a query's text), ``clause`` (the operand as SQL over the index table) and ``matches`` (the operand against one index row
in memory); the last two agree by property test.
"""
