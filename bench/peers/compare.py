"""quietmind beside llama.cpp on the same random BF16 weights: both alternately in one run, medians, ratios.

  sh bench/peers/install.sh /tmp/peers && make
  /tmp/peers/bin/python bench/peers/compare.py --shape qwen3-4b --layers 8 -p 512 -n 32 -r 5

Each measurement is a process of its own, warmed up. Prompts and generation begin at --n-depth; llama.cpp computes that
once and keeps its keys and values in a file, quietmind fills it with random ones. First the logits of both after the
same ids are compared: that they are near shows that both have the same weights.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

import numpy as np

import weights

HERE = pathlib.Path(__file__).parent


def output(*command):
    done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, check=False)
    if done.returncode:
        sys.exit(f"{command[0]} ended with {done.returncode}")
    return done.stdout


def llama(a, file, *more):
    return output(sys.executable, HERE / "llama.py", file, "--threads", a.threads, *more)


def measure_llama(a, file):
    return json.loads(llama(a, file, "-p", a.n_prompt, "-n", a.n_gen, "-d", a.n_depth, "--state",
                            f"{file}.d{a.n_depth}"))


def measure_quietmind(a, folder):
    rows = json.loads(output(a.quietmind, "bench", folder, "-p", a.n_prompt, "-n", a.n_gen, "-d", a.n_depth,
                             "--fill-depth", "-r", 1, "--threads", a.threads, "-o", "json", "--silent"))
    return {"decode" if row["n_gen"] else "prefill": row["median_ts"] for row in rows}


def same_weights(a, folder, file):
    ids = " ".join(str(i * 7919 % weights.SHAPES[a.shape][6]) for i in range(1, 33))
    ours, theirs, text = (pathlib.Path(a.directory) / n for n in ("ours.npy", "theirs.npy", "ids"))
    text.write_text(ids)
    output(a.quietmind, "logits", folder, "--ids", text, "-o", ours, "--last", 1, "--silent")
    llama(a, file, "--logits", theirs, "--ids", ids)
    x, y = np.load(ours).reshape(-1), np.load(theirs).reshape(-1)
    error = float(np.linalg.norm(x - y) / np.linalg.norm(y))
    print(f"logits: relative difference {error:.4f}, best token {x.argmax()} and {y.argmax()}")
    if not error < 0.05:
        sys.exit("the two do not compute the same model")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--shape", choices=weights.SHAPES, default="qwen3-0.6b")
    p.add_argument("--layers", type=int, help="the first so many only")
    p.add_argument("-p", "--n-prompt", type=int, default=512)
    p.add_argument("-n", "--n-gen", type=int, default=32)
    p.add_argument("-d", "--n-depth", type=int, default=0)
    p.add_argument("--prepare", action="store_true", help="write the weights and the depth, and measure nothing")
    p.add_argument("-r", "--rounds", type=int, default=5)
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument("--directory", default="build/peers", help="where the weights are kept")
    p.add_argument("--quietmind", default="build/quietmind")
    a = p.parse_args()
    layers = a.layers or weights.SHAPES[a.shape][5]
    folder, file = weights.write(a.directory, a.shape, layers)
    same_weights(a, folder, file)
    if a.prepare:
        measure_llama(a, file)
        return
    taken = {"quietmind": [], "llama.cpp": []}
    for r in range(a.rounds):
        taken["quietmind"].append(measure_quietmind(a, folder))
        taken["llama.cpp"].append(measure_llama(a, file))
        print(f"round {r + 1}: " + "; ".join(f"{who} prefill {t[-1]['prefill']:.1f}, decode {t[-1]['decode']:.2f}"
                                             for who, t in taken.items()))
    print(f"\n{a.shape}, {layers} layers, BF16, {a.threads} threads, medians of {a.rounds} rounds, tokens/s")
    print("| | quietmind | llama.cpp | ratio | ratios of the rounds |\n|---|---:|---:|---:|---|")
    for what in ("prefill", "decode"):
        ours, theirs = ([t[what] for t in taken[who]] for who in taken)
        ratios = [x / y for x, y in zip(ours, theirs)]
        name = (f"pp{a.n_prompt}" if what == "prefill" else f"tg{a.n_gen}") + (f" @ d{a.n_depth}" if a.n_depth else "")
        print(f"| {name} | {statistics.median(ours):.2f} | {statistics.median(theirs):.2f} | "
              f"{statistics.median(ratios):.2f} | {min(ratios):.2f} to {max(ratios):.2f} |")


main()
