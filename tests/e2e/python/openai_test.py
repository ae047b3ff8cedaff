"""S14: every way in which the official OpenAI SDK for Python asks, against an agent whose model does what each test uploads.

ROCKBOT_URL, ROCKBOT_AGENT and ROCKBOT_KEY say where the agent is and how to be let in; ROCKBOT_MODEL says where its model is,
which plays the scenario `sdk` and tells what it was asked. `../node/openai.test.mjs` asks the same with the SDK for Node.js.
"""
import asyncio
import contextlib
import io
import json
import os
import re
import unittest
import urllib.request
import uuid

import openai
import pydantic
from openai.lib.responses_tool_runner import RegisteredFunction, ResponsesToolRunner

URL = os.environ["ROCKBOT_URL"]
AGENT = os.environ["ROCKBOT_AGENT"]
KEY = os.environ["ROCKBOT_KEY"]
MODEL = os.environ["ROCKBOT_MODEL"]
DOCUMENTATION = os.environ["ROCKBOT_DOCUMENTATION"]
QUESTION = [{"role": "user", "content": "How warm is it in Paris?"}]
REFUSED = {"error": {"status": 503}}
# The agent itself asks three times before it gives up.
GIVEN_UP = [REFUSED, REFUSED, REFUSED]


class Weather(pydantic.BaseModel):
    """How the weather is."""

    city: str
    degrees: int


WEATHER = openai.pydantic_function_tool(Weather, name="report_weather")


def connect(**options):
    return openai.OpenAI(**{"base_url": URL + "/v1", "api_key": KEY, "max_retries": 0, "timeout": 30, **options})


client = connect()
completions = client.chat.completions


def script(*steps):
    """Tells the model what to answer from now on."""
    body = json.dumps({"name": "sdk", "steps": steps}).encode()
    request = urllib.request.Request(f"{MODEL}/script", body, {"content-type": "application/json"})
    urllib.request.urlopen(request, timeout=10).close()


def requests():
    """What the model was asked since then."""
    with urllib.request.urlopen(f"{MODEL}/sdk/requests", timeout=10) as answer:
        return json.load(answer)


def say(text, **more):
    return {"content": text, **more}


def call(name, arguments, **more):
    return {"calls": [{"name": name, "arguments": arguments}], **more}


def text_of(completion):
    return completion.choices[0].message.content


class Create(unittest.TestCase):
    def test_every_option_reaches_the_model(self):
        options = {
            "temperature": 0.5,
            "top_p": 0.9,
            "max_completion_tokens": 100,
            "frequency_penalty": 0.1,
            "presence_penalty": -0.2,
            "stop": ["END", "STOP"],
            "seed": 7,
            "logit_bias": {"50256": -100},
            "user": "someone",
            "metadata": {"team": "red"},
            "response_format": {"type": "json_object"},
            "reasoning_effort": "low",
            "service_tier": "auto",
            "store": False,
            "parallel_tool_calls": False,
            "tool_choice": {"type": "function", "function": {"name": "report_weather"}},
        }
        script(say("{}"))
        completions.create(model=AGENT, messages=QUESTION, tools=[WEATHER], extra_body={"top_k": 5}, **options)
        asked = requests()[0]["body"]
        sent = {**options, "top_k": 5}
        # The name by which servers other than OpenAI's own know it.
        sent["max_tokens"] = sent.pop("max_completion_tokens")
        self.assertNotIn("max_completion_tokens", asked)
        for name, value in sent.items():
            self.assertEqual(asked[name], value, name)
        self.assertEqual(asked["tools"][-1]["function"], WEATHER["function"])
        self.assertEqual(asked["model"], "scripted", "the agent's own model")

    def test_images_sounds_and_files_reach_the_model(self):
        content = [
            {"type": "text", "text": "What is all this?"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk=", "detail": "low"}},
            {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}},
            {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk="}},
        ]
        script(say("Greetings."))
        completions.create(model=AGENT, messages=[{"role": "user", "content": content}])
        self.assertEqual(requests()[0]["body"]["messages"][-1]["content"], content)

    def test_usage(self):
        script(say("one two three"))
        usage = completions.create(model=AGENT, messages=QUESTION).usage
        self.assertEqual(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens)
        self.assertGreater(usage.completion_tokens, 3)
        self.assertEqual(usage.prompt_tokens_details.cached_tokens, 1)
        self.assertEqual(usage.completion_tokens_details.reasoning_tokens, 2)

    def test_the_request_has_an_identity(self):
        script(say("a"), say("b"))
        completion = completions.create(model=AGENT, messages=QUESTION, extra_headers={"x-request-id": "mine"})
        self.assertEqual(completion._request_id, "mine")
        raw = completions.with_raw_response.create(model=AGENT, messages=QUESTION)
        self.assertGreater(len(raw.headers["x-request-id"]), 30)
        self.assertEqual(text_of(raw.parse()), "b")

    def test_a_refusal_and_reasoning(self):
        script(say("", extra={"refusal": "I must not."}), say("Yes.", reasoning="Well."))
        self.assertEqual(completions.create(model=AGENT, messages=QUESTION).choices[0].message.refusal, "I must not.")
        message = completions.create(model=AGENT, messages=QUESTION).choices[0].message
        self.assertEqual((message.reasoning_content, message.content), ("Well.", "Yes."))

    def test_many_at_once(self):
        async def ask():
            script(*[say("same") for _ in range(8)])
            async with openai.AsyncOpenAI(base_url=URL + "/v1", api_key=KEY, max_retries=0) as asynchronous:
                create = asynchronous.chat.completions.create
                answers = await asyncio.gather(*[create(model=AGENT, messages=QUESTION) for _ in range(8)])
                self.assertEqual([text_of(answer) for answer in answers], ["same"] * 8)
                self.assertEqual(len({answer.id for answer in answers}), 8)
                self.assertIn(AGENT, [model.id async for model in asynchronous.models.list()])

        asyncio.run(ask())


class Stream(unittest.TestCase):
    def test_chunks(self):
        script(say("one two three"))
        options = {"include_usage": True}
        chunks = list(completions.create(model=AGENT, messages=QUESTION, stream=True, stream_options=options))
        self.assertEqual(len({(chunk.id, chunk.created, chunk.model, chunk.object) for chunk in chunks}), 1)
        self.assertEqual(chunks[0].choices[0].delta.role, "assistant")
        self.assertEqual([chunk.choices[0].finish_reason for chunk in chunks[-2:-1]], ["stop"])
        self.assertEqual((chunks[-1].choices, chunks[-1].usage.total_tokens > 0), ([], True))

    def test_the_helper_tells_what_happens(self):
        script(say("one two three", reasoning="Hm."))
        with completions.stream(model=AGENT, messages=QUESTION, stream_options={"include_usage": True}) as stream:
            events = list(stream)
            completion = stream.get_final_completion()
        deltas = [event.delta for event in events if event.type == "content.delta" and event.delta]
        self.assertEqual(deltas, ["one ", "two ", "three"])
        self.assertEqual([event.content for event in events if event.type == "content.done"], ["one two three"])
        self.assertEqual(text_of(completion), "one two three")
        self.assertGreater(completion.usage.total_tokens, 0)

    def test_the_helper_puts_calls_together(self):
        calls = [{"name": "report_weather", "arguments": {"city": name, "degrees": 21}} for name in ("Paris", "Rome")]
        script({"content": "A moment.", "calls": calls, "piece_bytes": 11})
        with completions.stream(model=AGENT, messages=QUESTION, tools=[WEATHER]) as stream:
            done = [event for event in stream if event.type == "tool_calls.function.arguments.done"]
            message = stream.get_final_completion().choices[0].message
        self.assertEqual([event.parsed_arguments.city for event in done], ["Paris", "Rome"])
        self.assertEqual([call.function.parsed_arguments.degrees for call in message.tool_calls], [21, 21])
        self.assertEqual(message.content, "A moment.")

    def test_the_asynchronous_helper(self):
        async def ask():
            script(say("one two"))
            async with openai.AsyncOpenAI(base_url=URL + "/v1", api_key=KEY, max_retries=0) as asynchronous:
                async with asynchronous.chat.completions.stream(model=AGENT, messages=QUESTION) as stream:
                    deltas = [event.delta async for event in stream if event.type == "content.delta" and event.delta]
                    completion = await stream.get_final_completion()
            self.assertEqual((deltas, text_of(completion)), (["one ", "two"], "one two"))

        asyncio.run(ask())

    def test_an_error_in_the_middle(self):
        script(say("one two", error_event={"error": {"message": "enough", "code": "rate_limit_exceeded"}}))
        read = []
        with self.assertRaises(openai.APIError) as caught:
            for chunk in completions.create(model=AGENT, messages=QUESTION, stream=True):
                read.append(chunk.choices[0].delta.content)
        self.assertEqual("".join(read), "one two")
        self.assertEqual(caught.exception.code, "rate_limit_exceeded")

    def test_leaving_early_ends_the_model(self):
        script(say("word " * 2000, pause_ms=5))
        with completions.create(model=AGENT, messages=QUESTION, stream=True) as stream:
            next(stream)
        for _ in range(100):
            if requests()[0]["outcome"] == "dropped":
                return
            asyncio.run(asyncio.sleep(0.05))
        self.fail("the model still speaks")


class Parse(unittest.TestCase):
    def test_a_schema(self):
        script(say('{"city": "Paris", "degrees": 21}'))
        completion = client.beta.chat.completions.parse(model=AGENT, messages=QUESTION, response_format=Weather)
        self.assertEqual(completion.choices[0].message.parsed, Weather(city="Paris", degrees=21))
        schema = requests()[0]["body"]["response_format"]["json_schema"]
        self.assertEqual((schema["name"], schema["strict"]), ("Weather", True))
        self.assertEqual(schema["schema"]["required"], ["city", "degrees"])

    def test_a_schema_while_it_streams(self):
        script(say('{"city": "Paris", "degrees": 21}', piece_bytes=7))
        with completions.stream(model=AGENT, messages=QUESTION, response_format=Weather) as stream:
            done = [event.parsed for event in stream if event.type == "content.done"]
        self.assertEqual(done, [Weather(city="Paris", degrees=21)])

    def test_a_cut_answer_is_not_parsed(self):
        script(say('{"city": ', finish_reason="length"), say("", finish_reason="content_filter"))
        with self.assertRaises(openai.LengthFinishReasonError):
            completions.parse(model=AGENT, messages=QUESTION, response_format=Weather)
        with self.assertRaises(openai.ContentFilterFinishReasonError):
            completions.parse(model=AGENT, messages=QUESTION, response_format=Weather)


class Tools(unittest.TestCase):
    def test_the_client_runs_its_own_and_the_agent_its_own(self):
        mixed = [
            {"name": "execute_python_script", "arguments": {"script": "print(6 * 7)"}},
            {"name": "report_weather", "arguments": {"city": "Paris", "degrees": 21}},
        ]
        script({"calls": mixed}, say("42, and 21 degrees."))
        messages = list(QUESTION)
        completion = completions.parse(model=AGENT, messages=messages, tools=[WEATHER])
        self.assertEqual(completion.choices[0].finish_reason, "tool_calls")
        (only,) = completion.choices[0].message.tool_calls
        self.assertEqual(only.function.parsed_arguments, Weather(city="Paris", degrees=21))
        messages.append(completion.choices[0].message)
        messages.append({"role": "tool", "tool_call_id": only.id, "content": "noted"})
        self.assertEqual(text_of(completions.create(model=AGENT, messages=messages, tools=[WEATHER])), "42, and 21 degrees.")
        results = [message["content"] for message in requests()[1]["body"]["messages"] if message["role"] == "tool"]
        self.assertEqual(results, ["42\n", "noted"])


    def test_the_runner_of_tools(self):
        function = {"type": "function", "name": "report_weather", "parameters": Weather.model_json_schema(), "strict": False}
        for stream in (False, True):
            told = []
            runner = ResponsesToolRunner(functions=[RegisteredFunction(function, lambda weather: told.append(weather) or "noted")])
            own = {"name": "execute_python_script", "arguments": {"script": "print(6 * 7)"}}
            mine = {"name": "report_weather", "arguments": {"city": "Paris", "degrees": 21}}
            script({"calls": [own, mine]}, say("42, and 21 degrees."))
            response = runner.run(client, {"model": AGENT, "input": "How warm is it?"}, stream=stream)
            self.assertEqual(response.output_text, "42, and 21 degrees.")
            self.assertEqual(told, [{"city": "Paris", "degrees": 21}])
            results = [message["content"] for message in requests()[1]["body"]["messages"] if message["role"] == "tool"]
            self.assertEqual(results, ["42\n", "noted"])


class Humans(unittest.TestCase):
    """D4: the agent asks whoever talks to it, and goes on with what they say."""

    def setUp(self):
        script(call("execute_python_script", {"script": "print(6 * 7)"}), call("ask-customer", {"question": "Which colour?"}), say("Bought."))
        # Conversations that are the same to the letter are told apart by nothing.
        self.messages = [{"role": "user", "content": f"One of them, please. {uuid.uuid4()}"}]

    def is_question(self, choice):
        message = choice.message
        self.assertEqual((message.content, choice.finish_reason, message.tool_calls), ("Which colour?", "stop", None))
        self.assertEqual((message.handoff["name"], message.handoff["type"]), ("ask-customer", "human"))

    def goes_on(self, asked):
        messages = [*self.messages, asked, {"role": "user", "content": "red"}]
        choice = completions.create(model=AGENT, messages=messages).choices[0]
        self.assertEqual((choice.message.content, choice.finish_reason), ("Bought.", "stop"))
        self.assertIsNone((choice.message.model_extra or {}).get("handoff"))
        first, *read = requests()[2]["body"]["messages"]
        self.assertEqual(first["role"], "system")
        self.assertEqual([message["role"] for message in read], ["user", "assistant", "tool", "assistant", "tool"])
        self.assertEqual((read[2]["content"], json.loads(read[4]["content"])["result"]), ("42\n", "red"))

    def test_a_question_is_answered(self):
        choice = completions.create(model=AGENT, messages=self.messages).choices[0]
        self.is_question(choice)
        self.goes_on(choice.message)

    def test_a_streamed_question_is_answered(self):
        with completions.stream(model=AGENT, messages=self.messages) as stream:
            choice = stream.get_final_completion().choices[0]
        self.is_question(choice)
        self.goes_on(choice.message)

    def test_words_alone_are_enough(self):
        words = text_of(completions.create(model=AGENT, messages=self.messages))
        self.goes_on({"role": "assistant", "content": words})


class Errors(unittest.TestCase):
    def setUp(self):
        # A model that fails five times in a row is left alone for a while; one answer ends the row.
        script(say("well"))
        completions.create(model=AGENT, messages=QUESTION)
        script()

    def fails(self, error, code, *steps, **options):
        script(*steps)
        with self.assertRaises(error) as caught:
            completions.create(**{"model": AGENT, "messages": QUESTION, **options})
        self.assertEqual(caught.exception.code, code)
        self.assertEqual(set(caught.exception.body), {"message", "type", "param", "code"})
        return caught.exception

    def test_of_the_client(self):
        self.assertEqual(self.fails(openai.BadRequestError, "invalid_value", n=2).param, "n")
        self.fails(openai.BadRequestError, "invalid_value", messages=[{"role": "user", "content": 5}])
        self.fails(openai.BadRequestError, "invalid_value", messages=[])
        self.fails(openai.NotFoundError, "model_not_found", model="nobody")
        self.assertEqual(requests(), [])

    def test_of_the_key(self):
        for key in ("sk-other", "x"):
            with self.assertRaises(openai.AuthenticationError) as caught:
                connect(api_key=key).chat.completions.create(model=AGENT, messages=QUESTION)
            self.assertEqual(caught.exception.code, "invalid_api_key")

    def test_of_the_model(self):
        def refused(status, code, **more):
            return {"error": {"status": status, "body": {"error": {"message": "no", "code": code}}, **more}}

        error = self.fails(openai.RateLimitError, "rate_limit_exceeded", refused(429, None, retry_after=100))
        self.assertEqual(error.response.headers["retry-after"], "100")
        self.fails(openai.BadRequestError, "context_length_exceeded", refused(400, "context_length_exceeded"))
        self.fails(openai.BadRequestError, "content_filter", refused(400, "content_filter"))
        self.fails(openai.InternalServerError, "model_authentication", refused(401, "invalid_api_key"))
        self.fails(openai.InternalServerError, "model_overloaded", *GIVEN_UP)

    def test_of_time(self):
        script(say("late", delay_ms=5000))
        with self.assertRaises(openai.APITimeoutError):
            completions.create(model=AGENT, messages=QUESTION, timeout=0.3)

    def test_what_passes_is_tried_again(self):
        script(*GIVEN_UP, say("Now."))
        completion = connect(max_retries=1).chat.completions.create(model=AGENT, messages=QUESTION)
        self.assertEqual((text_of(completion), len(requests())), ("Now.", 4))

    def test_after_a_tool_nothing_is_tried_again(self):
        script(call("execute_python_script", {"script": "print(1)"}), *GIVEN_UP, say("Twice."))
        with self.assertRaises(openai.InternalServerError):
            connect(max_retries=1).chat.completions.create(model=AGENT, messages=QUESTION)
        self.assertEqual(len(requests()), 4)


class Models(unittest.TestCase):
    def test_list_and_retrieve(self):
        models = client.models.list()
        self.assertIn(AGENT, [model.id for model in models])
        self.assertEqual(client.models.retrieve(AGENT).owned_by, "rockbot")
        with self.assertRaises(openai.NotFoundError) as caught:
            client.models.retrieve("nobody")
        self.assertEqual(caught.exception.code, "model_not_found")


class Documentation(unittest.TestCase):
    def test_the_example_runs(self):
        with open(DOCUMENTATION) as file:
            (example,) = re.findall(r"^```python\n(.*?)^```", file.read(), re.DOTALL | re.MULTILINE)
        for word, here in (("http://localhost:8080", URL), ("analyst", AGENT), ("choose-one", KEY)):
            self.assertIn(word, example)
            example = example.replace(word, here)
        script(say("355687428096000"))
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(example, DOCUMENTATION, "exec"), {})
        self.assertEqual(printed.getvalue(), "355687428096000\n")


unittest.main(verbosity=2)
