#!/usr/bin/env python3
"""Writes what a server answers to the cases of core/kube/tests/answers/*.golden into those files, or compares.

    record.py record URL TOKEN FILE...    asks the server and rewrites the answers
    record.py compare URL TOKEN FILE...   asks the server and prints the cases whose answers differ

The form of the files is described in core/kube/tests/answers/main.rs. TLS certificates are not verified: this is for a
server on the same machine. Everything that is created is deleted again.
"""
import copy
import http.client
import json
import re
import ssl
import sys

NAMESPACE = "validation"
WORDS = {
    "Required value": "FieldValueRequired", "Invalid value": "FieldValueInvalid", "Unsupported value": "FieldValueNotSupported",
    "Duplicate value": "FieldValueDuplicate", "Forbidden": "FieldValueForbidden", "Not found": "FieldValueNotFound",
    "Too long": "FieldValueTooLong", "Too many": "FieldValueTooMany", "Too few": "FieldValueTooFew",
    "Too short": "FieldValueTooShort", "Internal error": "InternalError",
}


class Server:
    def __init__(self, url, token):
        self.token = token
        secure, address = url.split("://")
        if secure == "https":
            self.connection = http.client.HTTPSConnection(address, context=ssl._create_unverified_context())
        else:
            self.connection = http.client.HTTPConnection(address)
        self.resources = {}

    def call(self, method, path, body=None):
        headers = {"Authorization": "Bearer " + self.token, "Content-Type": "application/json"}
        self.connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = self.connection.getresponse()
        text = answer.read()
        warnings = [value[len('299 - "'):-1].replace('\\"', '"').replace("\\\\", "\\")
                    for key, value in answer.getheaders() if key.lower() == "warning"]
        return answer.status, json.loads(text or b"{}"), warnings

    def collection(self, item):
        version = item["apiVersion"]
        base = "/api/v1" if version == "v1" else "/apis/" + version
        if base not in self.resources:
            found = self.call("GET", base)[1]["resources"]
            self.resources[base] = {r["kind"]: r for r in found if "/" not in r["name"]}
        resource = self.resources[base][item["kind"]]
        middle = "/namespaces/" + item["metadata"].get("namespace", NAMESPACE) if resource["namespaced"] else ""
        return base + middle + "/" + resource["name"]


def read(path):
    """The blocks of a file: comments and blank lines as text, objects, cases."""
    blocks = []
    for line in open(path).read().split("\n"):
        if line.startswith("  "):
            blocks[-1]["answer"].append(line[2:])
        else:
            blocks.append({"line": line, "answer": []})
    return blocks


def changes(text):
    decoder, found = json.JSONDecoder(), []
    while text := text.strip():
        pointer, text = text.split("=", 1)
        if repeated := re.match(r"@(\S+?)\*(\d+)", text):
            value, text = repeated[1] * int(repeated[2]), text[repeated.end():]
        else:
            value, end = decoder.raw_decode(text)
            text = text[end:]
        found.append((pointer, value))
    return found


def change(item, pointer, value):
    *path, last = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
    for part in path:
        if isinstance(item, list):
            item = item[int(part)]
        else:
            if item.get(part) is None:
                item[part] = {}
            item = item[part]
    if isinstance(item, list):
        if last == "-":
            item.append(value)
        else:
            item[int(last)] = value
    else:
        item[last] = value


def answer_of(item, status, answer, warnings):
    lines = ["warning " + json.dumps(warning, ensure_ascii=False) for warning in warnings]
    causes = answer.get("details", {}).get("causes")
    if status in (200, 201):
        return lines + ["ok"]
    if status != 422 or not causes:
        return lines + [f"{status} {answer.get('reason', '')} {json.dumps(answer.get('message'), ensure_ascii=False)}"]
    texts = []
    for cause in causes:
        message = cause["message"].split("\n")[0] + ("\\n..." if "\n" in cause["message"] else "")
        message = message.replace("\xa0", " ")
        word = message.split(":")[0]
        mark = "" if WORDS.get(word) == cause["reason"] else f"({cause['reason']}) "
        texts.append(f"{mark}{cause.get('field', '')}: {message}")
    return lines + texts


def run(server, path, mode):
    blocks, bases, created, agree, cases = read(path), {}, {}, 0, 0
    for block in blocks:
        kind, _, rest = block["line"].partition(" ")
        if kind == "object":
            name, _, text = rest.partition(" ")
            bases[name] = {"object": json.loads(text), "status": None}
        elif kind == "status":
            name, _, text = rest.partition(" ")
            bases[name]["status"] = json.loads(text)
    for wanted in ("create", "update"):
        for block in blocks:
            kind, _, rest = block["line"].partition(" ")
            if kind != wanted:
                continue
            target, _, text = rest.partition(" ")
            name, _, sub = target.partition("/")
            base = bases[name]
            collection = server.collection(base["object"])
            if kind == "create":
                item = copy.deepcopy(base["object"])
                for pointer, value in changes(text):
                    change(item, pointer, value)
                outcome = server.call("POST", collection + "?dryRun=All", item)
            else:
                if name not in created:
                    status, made, _ = server.call("POST", collection, base["object"])
                    assert status == 201, (path, name, made)
                    place = collection + "/" + made["metadata"]["name"]
                    created[name] = place
                    if base["status"] is not None:
                        made["status"] = base["status"]
                        status, made, _ = server.call("PUT", place + "/status", made)
                        assert status == 200, (path, name, made)
                place = created[name]
                item = server.call("GET", place)[1]
                for pointer, value in changes(text):
                    change(item, pointer, value)
                outcome = server.call("PUT", place + ("/" + sub if sub else "") + "?dryRun=All", item)
            answer = answer_of(item, *outcome)
            cases += 1
            if mode == "record":
                block["answer"] = answer
            elif block["answer"] == answer:
                agree += 1
            else:
                print(f"{path.split('/')[-1]}: {block['line']}")
                for line in block["answer"]:
                    print("  - " + line)
                for line in answer:
                    print("  + " + line)
    for place in created.values():
        status, item, _ = server.call("GET", place)
        if status == 200 and item["metadata"].pop("finalizers", None):
            server.call("PUT", place, item)
        status, item, _ = server.call("DELETE", place + "?gracePeriodSeconds=0")
        if status == 200 and item.get("kind") == "Namespace" and item.get("spec", {}).get("finalizers"):
            item["spec"]["finalizers"] = []
            server.call("PUT", place + "/finalize", item)
    if mode == "record":
        lines = [line for block in blocks for line in [block["line"], *("  " + text for text in block["answer"])]]
        open(path, "w").write("\n".join(lines))
    return cases, agree


def main():
    mode, url, token, *paths = sys.argv[1:]
    server = Server(url, token)
    server.call("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    total = [0, 0]
    for path in paths:
        cases, agree = run(server, path, mode)
        total = [total[0] + cases, total[1] + agree]
    print(f"{total[0]} cases" + (f", {total[1]} agree" if mode == "compare" else " recorded"))


main()
