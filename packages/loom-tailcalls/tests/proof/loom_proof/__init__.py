"""The tools that compare the compiler with plain recursion: one source, run as plain recursion and
run by the compiler.

Theory of operation. A *program* is a Python module with a function ``main()`` (a plain function or
a coroutine function) that imports its decorators from a module named ``subject``. The machinery
executes the file twice. First ``subject.tailrec`` returns the function unchanged: that is plain
recursion, the reference. Then it is the compiler's decorator. Each run gives an *observation*: the
result or the exception with its innermost line, the ordered events the program wrote with ``log``,
and how often the coroutine suspended. Two observations are equal or the compiler is wrong.

``program``   a corpus file and what its comments expect
``observe``   one run, watched by a timer, as an ``Observation``
``generate``  Hypothesis strategies for programs of the accepted fragment, and their two references
``sweep``     the long run behind ``make fuzz-tailcalls``: seeds, counts and the smallest failing program
``mutants``   named faults put into the compiler, to see the tests catch them
"""
