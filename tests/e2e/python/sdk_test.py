"""The official OpenAI SDK against an agent whose model is the scripted one: it runs the Python of a message and says what the tool answered.

ROCKBOT_URL and ROCKBOT_AGENT say where the agent is; the host name that each script saw is written to ROCKBOT_REPORT.
"""
import json
import os
import time
import unittest

import openai

AGENT = os.environ["ROCKBOT_AGENT"]
HOST = "import os; print('host=' + os.uname().nodename); "
client = openai.OpenAI(base_url=os.environ["ROCKBOT_URL"] + "/v1", api_key="unused", max_retries=0, timeout=60)


def question(**arguments):
    """A message that makes the model call the tool with these arguments."""
    return [{"role": "user", "content": f"Run this.\n```json\n{json.dumps(arguments)}\n```"}]


def hosts_of(text):
    names = [line.removeprefix("host=") for line in text.splitlines() if line.startswith("host=")]
    with open(os.environ["ROCKBOT_REPORT"], "a") as report:
        report.writelines(name + "\n" for name in names)
    return names


class Sdk(unittest.TestCase):
    def run_script(self, **arguments):
        arguments["script"] = HOST + arguments["script"]
        answer = client.chat.completions.create(model=AGENT, messages=question(**arguments))
        choice = answer.choices[0]
        self.assertEqual(choice.finish_reason, "stop")
        self.assertIsNone(choice.message.tool_calls, "a tool of the server is none of the client's business")
        self.assertEqual(len(hosts_of(choice.message.content)), 1, choice.message.content)
        self.assertGreater(answer.usage.total_tokens, 0)
        return choice.message.content

    def test_stdout_is_real(self):
        text = self.run_script(script="print(6 * 7)")
        self.assertEqual(text.splitlines()[1:], ["42"])

    def test_streaming(self):
        arguments = {"script": HOST + "print(' '.join(str(n * n) for n in range(20)))"}
        stream = client.chat.completions.create(
            model=AGENT, messages=question(**arguments), stream=True, stream_options={"include_usage": True}
        )
        chunks = list(stream)
        self.assertEqual(len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}), 1)
        self.assertEqual(chunks[0].choices[0].delta.role, "assistant")
        self.assertEqual([chunk.usage is not None for chunk in chunks], [False] * (len(chunks) - 1) + [True])
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        self.assertEqual(len(hosts_of(text)), 1)
        self.assertIn("289 324 361", text)
        self.assertGreater(len(chunks), 10, "the answer came in one piece")

    def test_streaming_helper(self):
        arguments = {"script": HOST + "print(6 * 7)"}
        with client.chat.completions.stream(model=AGENT, messages=question(**arguments)) as stream:
            for _ in stream:
                pass
            answer = stream.get_final_completion()
        text = answer.choices[0].message.content
        self.assertEqual(len(hosts_of(text)), 1)
        self.assertEqual(text.splitlines()[1:], ["42"])

    def test_input_arrives(self):
        text = self.run_script(script="print(os.environ['ROCKBOT_INPUT'])", input_data="two\nlines, äöü")
        self.assertEqual(text.splitlines()[1:], ["two", "lines, äöü"])
        text = self.run_script(
            script="import json; print(sum(json.loads(os.environ['ROCKBOT_INPUT'])['numbers']))",
            input_data={"numbers": [1, 2, 39]},
        )
        self.assertEqual(text.splitlines()[1:], ["42"])

    def test_exception_gives_stderr_and_exit_code(self):
        text = self.run_script(script="print('so far'); raise ValueError('no such luck')")
        for part in ("so far", "exit code: 1", "Traceback", "ValueError: no such luck"):
            self.assertIn(part, text)

    def test_exit_code(self):
        self.assertIn("exit code: 3", self.run_script(script="import sys; sys.exit(3)"))

    def test_success_shows_stdout_alone(self):
        text = self.run_script(script="import sys; print('out'); print('err', file=sys.stderr)")
        self.assertEqual(text.splitlines()[1:], ["out"])

    def test_endless_loop_ends_at_its_timeout(self):
        begin = time.monotonic()
        text = self.run_script(script="import sys; sys.stdout.flush()\nwhile True: pass", timeout_seconds=2)
        took = time.monotonic() - begin
        self.assertGreater(took, 1.9)
        self.assertLess(took, 15, "the timeout of 2 s did not end it")
        self.assertIn("exit code: 124", text)
        self.assertIn("2 s", text)

    def test_models(self):
        self.assertIn(AGENT, [model.id for model in client.models.list()])
        self.assertEqual(client.models.retrieve(AGENT).id, AGENT)

    def test_errors_are_the_sdks_own(self):
        with self.assertRaises(openai.NotFoundError) as caught:
            client.chat.completions.create(model="nobody", messages=question(script="print(1)"))
        self.assertEqual(caught.exception.code, "model_not_found")
        with self.assertRaises(openai.BadRequestError):
            client.chat.completions.create(model=AGENT, messages=[{"role": "user", "content": 5}])


unittest.main(verbosity=2)
