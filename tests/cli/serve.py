# The checks of tests/cli/serve.sh that need connections of their own: python3 serve.py QUIETMIND MODEL FOLDER
import http.client, json, os, re, signal, socket, subprocess, sys, threading, time

program, model, folder = sys.argv[1:4]
passed = failed = 0


def check(name, good, what=""):
    global passed, failed
    if good:
        passed += 1
        print("ok  ", name)
    else:
        failed += 1
        print("FAIL", name, str(what)[:600])


class Server:
    def __init__(self, *options):
        self.log = open(os.path.join(folder, "log"), "w+")
        self.process = subprocess.Popen([program, "serve", model, "--listen", "127.0.0.1:0", "--threads", "2", *options],
                                        stderr=self.log, stdin=subprocess.DEVNULL)
        for _ in range(600):
            found = re.search(r"http://127.0.0.1:(\d+)/v1", self.said())
            if found or self.process.poll() is not None:
                break
            time.sleep(0.1)
        if not found:
            print("FAIL the server did not begin:", self.said())
            sys.exit(1)
        self.port = int(found.group(1))

    def said(self):
        return open(os.path.join(folder, "log")).read()

    def ask(self, path, body=None, method=None, headers={}):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        c.request(method or ("GET" if body is None else "POST"), path, data, headers)
        r = c.getresponse()
        text = r.read()
        c.close()
        return r.status, text, dict(r.getheaders())

    def json(self, path, body=None):
        status, text, _ = self.ask(path, body)
        return status, json.loads(text)

    def metric(self, name):
        return float(re.search("^" + name + r"\S* (\S+)$", self.ask("/metrics")[1].decode(), re.M).group(1))

    def end(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        return self.process.wait(timeout=60)


def chunks(text):
    return [json.loads(line[6:]) for line in text.decode().split("\n\n") if line.startswith("data: {")]


def summed(text):
    """The answer that a stream's chunks add up to."""
    content, finish = {}, {}
    for c in chunks(text):
        for choice in c["choices"]:
            i = choice["index"]
            content[i] = content.get(i, "") + (choice["delta"].get("content") or "" if "delta" in choice else choice["text"])
            finish[i] = choice["finish_reason"] or finish.get(i)
    return [(content[i], finish[i]) for i in sorted(content)]


def whole(answer):
    return [((c["message"]["content"] if "message" in c else c["text"]) or "", c["finish_reason"])
            for c in answer["choices"]]


# --- the same answers, alone and among others, streamed and not, and as a batch gives them ---
requests = []
for i in range(24):
    if i % 3:
        body = {"messages": [{"role": "user", "content": f"Tell me story {i} about Anselm."}]}
        url = "/v1/chat/completions"
    else:
        body = {"prompt": f"The owl number {i}"}
        url = "/v1/completions"
    body.update(max_tokens=20 + i, temperature=[0, 0.8, 1.3][i % 3], seed=i, n=2 if i % 5 == 0 else 1)
    requests.append((url, body))
with open(os.path.join(folder, "rows.jsonl"), "w") as f:
    for i, (url, body) in enumerate(requests):
        f.write(json.dumps({"custom_id": str(i), "method": "POST", "url": url, "body": body}) + "\n")
subprocess.run([program, "batch", model, os.path.join(folder, "rows.jsonl"), "-o", os.path.join(folder, "rows.out"), "-q"],
               check=True)
expected = {}
for line in open(os.path.join(folder, "rows.out")):
    row = json.loads(line)
    expected[int(row["custom_id"])] = whole(row["response"]["body"])

s = Server("--sequences", "8")
alone = [whole(s.json(url, body)[1]) for url, body in requests]
check("alone: as a batch answers", all(alone[i] == expected[i] for i in range(24)),
      [(a, expected[i]) for i, a in enumerate(alone) if a != expected[i]][:1])
among = [None] * 48
def one(i):
    url, body = requests[i % 24]
    if i < 24:
        status, text, headers = s.ask(url, dict(body, stream=True))
        among[i] = summed(text) if headers["Content-Type"] == "text/event-stream" and text.endswith(b"data: [DONE]\n\n") else text
    else:
        among[i] = whole(s.json(url.replace("/v1", ""), body)[1])
threads = [threading.Thread(target=one, args=(i,)) for i in range(48)]
[t.start() for t in threads]
[t.join() for t in threads]
check("among others, streamed", among[:24] == alone, [a for a in zip(among[:24], alone) if a[0] != a[1]][:1])
check("among others, not streamed, without /v1", among[24:] == alone)

# --- what else is there ---
check("health", s.ask("/health")[0] == 200 and s.ask("/ready")[0] == 200)
models = s.json("/v1/models")[1]["data"]
check("models", models[0]["id"] == os.path.basename(model) and models[0]["max_model_len"] > 1000 and models[0]["meta"]["n_params"] > 0)
check("one model", s.json("/v1/models/" + models[0]["id"])[1] == models[0])
status, tokens = s.json("/tokenize", {"prompt": "Hello there"})
check("tokenize as vLLM", status == 200 and tokens["count"] == len(tokens["tokens"]) > 0)
check("and as llama-server", s.json("/tokenize", {"content": "Hello there"})[1] == {"tokens": tokens["tokens"]})
check("detokenize", s.json("/detokenize", {"tokens": tokens["tokens"]})[1]["prompt"] == "Hello there")
prompt = s.json("/apply-template", {"messages": [{"role": "user", "content": "Hi"}]})[1]["prompt"]
check("a template", "Hi" in prompt and len(prompt) > 5)
check("the ids of messages", s.json("/tokenize", {"messages": [{"role": "user", "content": "Hi"}]})[1]["tokens"]
      == s.json("/tokenize", {"prompt": prompt, "add_special_tokens": False})[1]["tokens"])
usage = [c["usage"] for c in chunks(s.ask("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi"}],
         "max_tokens": 3, "stream": True, "stream_options": {"include_usage": True}})[1]) if c.get("usage")]
check("usage comes last, where it is asked for", len(usage) == 1 and usage[0]["completion_tokens"] == 3, usage)
status, text, headers = s.ask("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1, "user": "x", "store": True})
check("what is passed over is said", status == 200 and "store" in headers.get("quietmind-ignored", ""), headers)

# --- what is refused ---
hi = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}
for name, path, body, status, code, param in [
        ("no JSON", "/v1/chat/completions", b"{", 400, None, None),
        ("no object", "/v1/chat/completions", b"[]", 400, None, None),
        ("no body", "/v1/chat/completions", b"", 400, None, None),
        ("a wrong type", "/v1/chat/completions", dict(hi, max_tokens="many"), 400, None, "max_tokens"),
        ("out of range", "/v1/chat/completions", dict(hi, temperature=-1), 400, None, "temperature"),
        ("an unknown field", "/v1/chat/completions", dict(hi, colour=1), 400, None, "colour"),
        ("no messages", "/v1/chat/completions", {"max_tokens": 2}, 400, None, "messages"),
        ("another model", "/v1/chat/completions", dict(hi, model="gpt-9"), 404, "model_not_found", "model"),
        ("a model of a wrong type", "/v1/chat/completions", dict(hi, model=3), 400, None, "model"),
        ("too long", "/v1/completions", {"prompt": "owl " * 40000}, 400, "context_length_exceeded", None),
        ("tokens of a wrong type", "/detokenize", {"tokens": "x"}, 400, None, "tokens"),
        ("tokens that are not there", "/detokenize", {"tokens": [10 ** 7]}, 400, None, None),
        ("nothing to tokenize", "/tokenize", {}, 400, None, "prompt"),
        ("no such path", "/v1/nothing", {}, 404, "not_found", None)]:
    got, text, _ = s.ask(path, body)
    error = json.loads(text)["error"]
    check(name, got == status and error["code"] == code and (param is None or error["param"] == param) and error["message"],
          (got, error))
long = json.loads(s.ask("/v1/completions", {"prompt": "owl " * 40000})[1])["error"]["message"]
check("with both numbers", len(re.findall(r"\d{5,}", long)) >= 2, long)
check("another method", s.ask("/v1/models", {})[0] == 405 and s.ask("/v1/chat/completions")[0] == 405)
check("a foreign name", s.ask("/health", headers={"Host": "evil.example"})[0] == 403)
check("its own", s.ask("/health", headers={"Host": "localhost:1"})[0] == 200)
with socket.create_connection(("127.0.0.1", s.port)) as c:
    c.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n")
    check("a body that is too large", b" 413 " in c.recv(4096))
for seed in range(200):
    with socket.create_connection(("127.0.0.1", s.port)) as c:
        noise = (f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {seed}\r\n\r\n".encode() if seed % 2 else b"") \
            + bytes((seed * 7 + k * k) % 256 for k in range(seed))
        c.sendall(noise)
check("noise does not hurt", s.ask("/health")[0] == 200 and s.process.poll() is None)

# --- clients that go away ---
def go_away(stream, read):
    body = json.dumps({"prompt": "owl", "max_tokens": 16000, "ignore_eos": True, "stream": stream}).encode()
    c = socket.create_connection(("127.0.0.1", s.port))
    c.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    if read:
        c.recv(100)
    else:
        for _ in range(200):
            if s.metric("quietmind_requests_running"):
                break
            time.sleep(0.05)
    c.close()
    for _ in range(200):
        if not s.metric("quietmind_requests_running"):
            return True
        time.sleep(0.05)
    return False
check("one that goes away in a stream frees its place", go_away(True, True))
check("and one that waits for the whole", go_away(False, False))

# --- the end ---
done = []
def last():
    done.append(s.ask("/v1/completions", {"prompt": "owl", "max_tokens": 3000, "ignore_eos": True, "stream": True})[1])
t = threading.Thread(target=last)
t.start()
for _ in range(200):
    if s.metric("quietmind_requests_running"):
        break
    time.sleep(0.02)
check("it ends as told to", s.end() == 0, s.said())
t.join()
check("after what was begun", done[0].endswith(b"data: [DONE]\n\n") and summed(done[0])[0][1] == "length", done[0][-300:])
log = s.said()
check("a line for each request", len(re.findall(r"POST /chat/completions 200", log)) >= 32 and "a client" not in log)
check("which does not say what was asked", "Anselm" not in log)
check("clients that went are said", " 499, " in log)

# --- streams that wait ---
s = Server("--sequences", "1", "--ping", "0.2", "--grace", "0.3", "--request-timeout", "1", "--log", "json", "--any-model",
           "--alias", "gpt-9", "--alias", "other", "--origin", "https://chat.example")
first = http.client.HTTPConnection("127.0.0.1", s.port, timeout=60)
first.request("POST", "/v1/completions", json.dumps({"prompt": "owl", "max_tokens": 16000, "n": 9, "ignore_eos": True, "stream": True}))
first.getresponse().read(300)
second = http.client.HTTPConnection("127.0.0.1", s.port, timeout=60)
second.request("POST", "/v1/chat/completions", json.dumps(dict(hi, model="whatever", stream=True)))
r = second.getresponse()
check("its headers come at once", r.status == 200)
seen = b""
while seen.count(b"\n\n") < 3 and b'"content":"' not in seen.split(b"\n\n", 1)[-1]:
    seen += r.read1(1000)
check("and pings while it waits", seen.split(b"\n\n")[1].startswith(b":"), seen)
status, text, headers = s.ask("/v1/models")
check("names that it was given", [m["id"] for m in json.loads(text)["data"]] == ["gpt-9", "other"])
check("a page elsewhere may read it", headers.get("Access-Control-Allow-Origin") == "https://chat.example")
check("and is told so before", s.ask("/v1/models", method="OPTIONS")[0] == 204)
with socket.create_connection(("127.0.0.1", s.port), timeout=30) as c:
    c.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n")
    began = time.time()
    try:
        while c.recv(100):
            pass
    except ConnectionError:
        pass
    check("a body that never ends is given up", time.time() - began < 20)
ended = []
t = threading.Thread(target=lambda: ended.append(s.end()))
t.start()
rest = b""
try:
    while True:
        more = r.read1(1000)
        if not more:
            break
        rest += more
except http.client.HTTPException as e:
    pass
t.join()
check("an answer that takes longer than --grace", ended == [0] and b'"error"' in rest and b"going down" in rest, (ended, rest[-300:]))
lines = [json.loads(l) for l in s.said().splitlines() if l.startswith("{")]
check("its log is JSON", len(lines) >= 4 and all({"id", "path", "status", "seconds"} <= set(l) for l in lines))

# --- keys ---
with open(os.path.join(folder, "keys"), "w") as f:
    f.write("# two\nsecret-one\n\nsecret-two\n")
s = Server("--api-keys", os.path.join(folder, "keys"), "--log", "off")
check("no key", s.ask("/v1/models")[0] == 401 and s.ask("/v1/models", headers={"Authorization": "Bearer secret"})[0] == 401)
check("one of them", s.ask("/v1/models", headers={"Authorization": "Bearer secret-two"})[0] == 200)
check("Anthropic's header", s.ask("/v1/models", headers={"x-api-key": "secret-one"})[0] == 200)
check("health needs none", s.ask("/health")[0] == 200)
check("an address that is taken", subprocess.run([program, "serve", model, "--listen", f"127.0.0.1:{s.port}"],
                                                 stderr=subprocess.PIPE).returncode == 5)
try:
    import openai
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{s.port}/v1", api_key="secret-one")
    answer = client.chat.completions.create(model=client.models.list().data[0].id, max_tokens=8, temperature=0,
                                            messages=[{"role": "user", "content": "Hello"}])
    pieces = client.chat.completions.create(model=answer.model, max_tokens=8, temperature=0, stream=True,
                                            messages=[{"role": "user", "content": "Hello"}])
    check("OpenAI's client", "".join(p.choices[0].delta.content or "" for p in pieces) == answer.choices[0].message.content)
    try:
        client.chat.completions.create(model="none", messages=[])
        check("and its errors", False)
    except openai.NotFoundError as e:
        check("and its errors", e.code == "model_not_found")
except ImportError:
    print("skip OpenAI's client is not installed")
check("Ctrl-C", s.end(signal.SIGINT) == 0)

print(f"{passed} passed, {failed} failed")
sys.exit(failed > 0)
