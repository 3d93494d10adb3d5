#!/usr/bin/env python3
"""Folders of tokenizers with each of the small files and fields set, unset and contradicting, and what transformers makes
of texts with them: beside.json.

    beside.py OUT.json [SEED COUNT]     needs transformers 4.57 (and sentencepiece, protobuf) with tokenizers 0.23.3

The rules are 4.57's, those by which the folders were published. Where 5.x differs: beside a tokenizer.json it passes over
add_bos_token and add_eos_token, and builds some classes' pipelines anew from the vocabulary alone. Not made here, since
quietmind means to differ: a class's own default tokens that no file has (4.57 adds them beyond the embedding), and
add_prefix_space unset where tokenizer.json's ByteLevel has it (4.57's general class unsets it, 5.x's does not).
tokenizer.json is read by the fast classes, tokenizer.model alone by the slow one, which is SentencePiece between the
tokens; how that one spaces tokens in decoded text is not asked."""
import json, logging, os, random, shutil, sys, tempfile
os.environ["TRANSFORMERS_VERBOSITY"] = "critical"
import transformers
from transformers import AutoTokenizer
logging.disable(logging.CRITICAL)

MARK = "\u2581"
HERE = os.path.dirname(os.path.abspath(__file__))
MODEL = HERE + "/../small-a-spm-bpe/tokenizer.model"
TEXTS = ["Hello the world", " two  spaces ", "a<s>the</s> the<unk>", "<|im_start|>user\nthe<|im_end|>\nthe",
         "x <new> the<new2>the", "<s> the", "the <extra_1>\n<|endoftext|> the", "the\u2581the", "", " ", "<|im_end|>"]

def spm_like():
    vocab = {"<unk>": 0, "<s>": 1, "</s>": 2}
    for b in range(256):
        vocab["<0x%02X>" % b] = len(vocab)
    for c in MARK + "abcdefghijklmnopqrstuvwxyzHW<>|/_12":
        vocab[c] = len(vocab)
    merges = []
    def merge(a, b):
        merges.append([a, b])
        vocab[a + b] = len(vocab)
    for pair in [("t", "h"), ("th", "e"), (MARK, "the"), (MARK, MARK), (MARK, "t"), ("l", "l"), ("o", "r"), (MARK, "w"),
                 (MARK + "w", "or"), ("e", "n"), ("<", "|"), ("|", ">")]:
        merge(*pair)
    added = [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
              "special": True} for i, t in enumerate(["<unk>", "<s>", "</s>"])]
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
            "pre_tokenizer": None, "post_processor": None,
            "decoder": {"type": "Sequence", "decoders": [
                {"type": "Replace", "pattern": {"String": MARK}, "content": " "}, {"type": "ByteFallback"},
                {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
            "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
                      "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "ignore_merges": False,
                      "vocab": vocab, "merges": merges}}

def byte_like():
    bs = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    alphabet = {b: chr(b) for b in bs}
    n = 0
    for b in range(256):
        if b not in alphabet:
            alphabet[b] = chr(256 + n)
            n += 1
    vocab = {}
    for b in range(256):
        vocab[alphabet[b]] = len(vocab)
    merges = []
    for a, b in [("t", "h"), ("th", "e"), ("\u0120", "the"), ("\u0120", "w"), ("l", "l"), ("o", "r")]:
        merges.append([a, b])
        vocab[a + b] = len(vocab)
    vocab["<s>"] = len(vocab)
    vocab["</s>"] = len(vocab)
    vocab["<|im_end|>"] = len(vocab)
    added = [{"id": len(vocab), "content": "<|endoftext|>", "single_word": False, "lstrip": False, "rstrip": False,
              "normalized": False, "special": True}]
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
            "post_processor": None,
            "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                      "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                      "vocab": vocab, "merges": merges}}

def template(bos, eos, ids):
    around = ([{"SpecialToken": {"id": bos, "type_id": 0}}] if bos else []) + [{"Sequence": {"id": "A", "type_id": 0}}] + \
        ([{"SpecialToken": {"id": eos, "type_id": 0}}] if eos else [])
    names = [x for x in (bos, eos) if x]
    return {"type": "TemplateProcessing", "single": around,
            "pair": around + [{"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {n: {"id": n, "ids": [ids[n]], "tokens": [n]} for n in names}}

def token(r, content, typed):
    t = {"content": content, "lstrip": r.random() < .2, "normalized": r.random() < .3, "rstrip": r.random() < .2,
         "single_word": r.random() < .1}
    if typed:
        t = {"__type": "AddedToken", **t}
    elif r.random() < .8:
        t["special"] = r.random() < .7
    return t

def folder(r, kinds):
    """{file name: content}"""
    kind = r.choice(kinds)
    files, config = {}, {}
    if kind == "spm":
        t = spm_like()
        how = r.choice(["prepend", "first", "always", "never"])
        if how == "prepend":
            t["normalizer"] = {"type": "Sequence", "normalizers": [
                {"type": "Prepend", "prepend": MARK}, {"type": "Replace", "pattern": {"String": " "}, "content": MARK}]}
        else:
            t["pre_tokenizer"] = {"type": "Metaspace", "replacement": MARK, "prepend_scheme": how, "split": False}
        names, size = {"<unk>": 0, "<s>": 1, "</s>": 2}, len(t["model"]["vocab"])
        t["post_processor"] = r.choice([None, None, template("<s>", None, names), template("<s>", "</s>", names),
                                        template(None, None, names)])
        files["tokenizer.json"] = t
        classes = ["LlamaTokenizerFast", "LlamaTokenizer", "PreTrainedTokenizerFast", "CodeLlamaTokenizer", None]
        models = ["llama", "mixtral", "phi3", "gpt_oss"]
    elif kind == "bytes":
        t = byte_like()
        if r.random() < .5:
            t["pre_tokenizer"]["add_prefix_space"] = True
        if r.random() < .3:
            t["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [
                {"type": "Digits", "individual_digits": True}, t["pre_tokenizer"]]}
        names = {k: t["model"]["vocab"][k] for k in ("<s>", "</s>", "<|im_end|>")}
        size = len(t["model"]["vocab"]) + 1
        t["post_processor"] = r.choice([None, None, template("<s>", None, names), template("<s>", "</s>", names),
                                        {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False,
                                         "use_regex": True}])
        files["tokenizer.json"] = t
        classes = ["PreTrainedTokenizerFast", "GPT2Tokenizer", "GPT2TokenizerFast", "Qwen2Tokenizer",
                   "GPTNeoXTokenizerFast", "LlamaTokenizerFast", None]
        models = ["gpt2", "qwen2", "gpt_neox", "gpt_oss", "olmo2", "llama"]
    c = r.choice(classes)
    if c:
        config["tokenizer_class"] = c
    else:
        files["config.json"] = {"model_type": r.choice(models)}
    for key in ("add_bos_token", "add_eos_token", "add_prefix_space", "legacy"):
        v = r.choice([None, None, True, False])
        if v is not None:
            config[key] = v
    if kind == "bytes" and c == "PreTrainedTokenizerFast" or not c:
        config.setdefault("add_prefix_space", False)
    for key, usual in (("bos_token", "<s>"), ("eos_token", "</s>"), ("unk_token", "<unk>")):
        pick = r.random()
        if pick < .45:
            config[key] = usual
        elif pick < .55:
            config[key] = None
        elif pick < .65:
            config[key] = token(r, usual, True)
        elif pick < .75:
            config[key] = r.choice(["<new>", "<|im_end|>", "<|endoftext|>"])
    if kind == "bytes" and c and c.startswith("Llama"):
        config.setdefault("unk_token", None)  # its default would be a token beyond every embedding
    if r.random() < .15:
        config["pad_token"] = r.choice(["<pad>", "<new2>"])
    new = ["<|im_start|>", "<|im_end|>", "<new>", "<new2>", "<extra_1>"]
    if r.random() < .35:
        config["additional_special_tokens"] = [x if r.random() < .8 else token(r, x, True)
                                               for x in r.sample(new, r.randint(1, 3))]
    if r.random() < .45:
        d = {}
        if r.random() < .7:
            for a in t["added_tokens"]:
                d[str(a["id"])] = {k: a[k] for k in a if k != "id"}
        for i, x in enumerate(r.sample(new, r.randint(1, 4))):
            d[str(size + i)] = token(r, x, False)
        if r.random() < .2:
            d[str(names["</s>"])] = token(r, "</s>", False)
        config["added_tokens_decoder"] = d
    if r.random() < .35:
        files["added_tokens.json"] = {x: size + i for i, x in enumerate(r.sample(new, r.randint(1, 3)))}
    if r.random() < .35:
        m = {}
        if r.random() < .6:
            m["eos_token"] = r.choice(["<|im_end|>", "</s>", token(r, "<|im_end|>", False)])
        if r.random() < .4:
            m["bos_token"] = r.choice(["<s>", token(r, "<s>", False)])
        if r.random() < .5:
            m["additional_special_tokens"] = [x if r.random() < .7 else token(r, x, False)
                                              for x in r.sample(new, r.randint(1, 2))]
        files["special_tokens_map.json"] = m
    if config or r.random() < .5:
        files["tokenizer_config.json"] = config
    return files

def folder_model(r):
    """tokenizer.model alone, said without contradictions"""
    files, config = {"tokenizer.model": "small-a-spm-bpe"}, {"tokenizer_class": "LlamaTokenizer"}
    for key in ("add_bos_token", "add_eos_token", "legacy"):
        v = r.choice([None, True, False])
        if v is not None:
            config[key] = v
    for key, usual in (("bos_token", "<s>"), ("eos_token", "</s>"), ("unk_token", "<unk>")):
        pick = r.random()
        if pick < .4:
            config[key] = usual
        elif pick < .7:
            config[key] = {"__type": "AddedToken", "content": usual, "lstrip": False, "normalized": r.random() < .3,
                           "rstrip": False, "single_word": False}
    new = r.sample(["<new>", "<new2>", "<extra_1>", "<|endoftext|>"], r.randint(1, 4))
    how = r.choice(["decoder", "added", "list", "map", "none"])
    if how == "decoder":
        base = r.choice([1500, 1500, 1400])  # the last renames pieces, as InternLM2 does
        d = {str(i): {"content": x, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False,
                      "special": True} for i, x in enumerate(["<unk>", "<s>", "</s>"])}
        for i, x in enumerate(new):
            d[str(base + i * r.choice([1, 1, 2]))] = {"content": x, "lstrip": r.random() < .2, "normalized": False, "rstrip": r.random() < .2,
                                "single_word": False, "special": r.random() < .7}
        config["added_tokens_decoder"] = d
    elif how == "added":
        files["added_tokens.json"] = {x: 1500 + i for i, x in enumerate(new)}
        if r.random() < .5:
            config["additional_special_tokens"] = new[:1]
    elif how == "list":
        config["additional_special_tokens"] = new
    elif how == "map":
        files["special_tokens_map.json"] = {"additional_special_tokens": new, "eos_token": "</s>"}
    files["tokenizer_config.json"] = config
    return files

def write(files, to):
    for name, content in files.items():
        if name == "tokenizer.model":
            shutil.copy(MODEL, to + "/" + name)
        else:
            with open(to + "/" + name, "w") as f:
                json.dump(content, f)


def answer(files):
    fast = "tokenizer.json" in files
    with tempfile.TemporaryDirectory() as path:
        write(files, path)
        t = AutoTokenizer.from_pretrained(path, use_fast=fast)
        rows = []
        for text in TEXTS:
            ids = t.encode(text)
            rows.append([ids] + ([t.decode(ids, skip_special_tokens=skip, clean_up_tokenization_spaces=False)
                                  for skip in (False, True)] if fast else []))
    return {"eos": t.eos_token_id if t.eos_token is not None else -1, "rows": rows}


def main():
    out, seed, count = sys.argv[1], int((sys.argv + [0] * 3)[2] or 1), int((sys.argv + [0] * 3)[3] or 120)
    r = random.Random(seed)
    bases = {"spm": spm_like()["model"], "bytes": byte_like()["model"]}
    folders = []
    while len(folders) < count:
        files = folder_model(r) if r.random() < .2 else folder(r, ["spm", "bytes"])
        try:
            a = answer(files)
        except Exception:  # add_bos_token without a bos_token, add_prefix_space without tokenizer.model
            continue
        if "tokenizer.json" in files:
            model = files["tokenizer.json"]["model"]
            files["tokenizer.json"]["model"] = next(k for k in bases if bases[k] == model)
        folders.append({"files": files, **a})
    with open(out, "w") as f:
        f.write('{"transformers": "%s", "texts": %s,\n"bases": %s,\n"folders": [\n' %
                (transformers.__version__, json.dumps(TEXTS), json.dumps(bases)))
        f.write(",\n".join(json.dumps(x, separators=(",", ":")) for x in folders))
        f.write("\n]}\n")


main()
