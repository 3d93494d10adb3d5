#!/bin/sh
# Makes a virtual environment with llama.cpp, built from source for this CPU: install.sh DIR
# llama.cpp comes in llama-cpp-python, from PyPI; gguf and numpy write the weights. Building takes minutes;
# JOBS=N at once (1).
set -eu
dir=${1:?install.sh DIR: where the virtual environment goes}
python3 -m venv "$dir"
CMAKE_ARGS='-DGGML_NATIVE=ON' CMAKE_BUILD_PARALLEL_LEVEL=${JOBS:-1} \
    "$dir/bin/pip" install --no-binary llama-cpp-python llama-cpp-python gguf numpy
"$dir/bin/python" -c 'import llama_cpp; print("llama-cpp-python", llama_cpp.__version__)'
