"""Writers: journal, trace file, HTML page, OTLP, Chrome events, speedscope, Graphviz."""
