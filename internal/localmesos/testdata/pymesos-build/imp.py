"""Lets PyMesos's dependency http-parser 0.9.0 install on any Python 3.

Its setup.py needs the module imp, which Python 3.12 no longer has, and its C
extension does not compile for Python 3.11 and later. This stands in for the
former, and leaves the latter out by making setup.py take the branch for PyPy:
the package then uses its own parser in Python.
"""
import importlib.util
import sys

sys.pypy_version_info = sys.version_info


def load_source(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
