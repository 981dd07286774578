"""What `build.py` is made of: environments, system libraries, the test run and the extension package. Standard library only."""
