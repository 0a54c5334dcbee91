"""The grammar of scenario files, a module for each part; `scenario_file.py` puts them together."""
