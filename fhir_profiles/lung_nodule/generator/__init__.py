"""The generator of this pathway's artifacts: tables in, PlanDefinitions, ActivityDefinitions and CodeSystems out."""
