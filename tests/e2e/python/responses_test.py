"""S14: the Responses API as the official OpenAI SDK for Python asks, against an agent whose model does what each test uploads.

ROCKBOT_URL, ROCKBOT_AGENT and ROCKBOT_KEY say where the agent is and how to be let in; ROCKBOT_MODEL says where its model is,
which plays the scenario `sdk` and tells what it was asked. `../node/responses.test.mjs` asks the same with the SDK for Node.js.
"""
import asyncio
import json
import os
import unittest
import urllib.request
import uuid

import openai
import pydantic

URL = os.environ["ROCKBOT_URL"]
AGENT = os.environ["ROCKBOT_AGENT"]
KEY = os.environ["ROCKBOT_KEY"]
MODEL = os.environ["ROCKBOT_MODEL"]
OPTIONS = {"base_url": URL + "/v1", "api_key": KEY, "max_retries": 0, "timeout": 30}
QUESTION = "How warm is it in Paris?"


class Weather(pydantic.BaseModel):
    """How the weather is."""

    city: str
    degrees: int


WEATHER = openai.pydantic_function_tool(Weather, name="report_weather")["function"] | {"type": "function"}
PARIS = {"city": "Paris", "degrees": 21}
responses = openai.OpenAI(**OPTIONS).responses


def script(*steps):
    """Tells the model what to answer from now on."""
    body = json.dumps({"name": "sdk", "steps": steps}).encode()
    request = urllib.request.Request(f"{MODEL}/script", body, {"content-type": "application/json"})
    urllib.request.urlopen(request, timeout=10).close()


def messages(number):
    """What the model read in its request of that number, without the agent's own instructions."""
    with urllib.request.urlopen(f"{MODEL}/sdk/requests", timeout=10) as answer:
        asked = json.load(answer)[number]["body"]["messages"]
    return [message for message in asked if message["role"] != "system"]


def say(text, **more):
    return {"content": text, **more}


def call(*calls, **more):
    return {"calls": [{"name": name, "arguments": arguments} for name, arguments in calls], **more}


class Create(unittest.TestCase):
    def test_a_response_has_all_that_the_sdk_promises(self):
        script(say("Warm.", reasoning="Hm."))
        response = responses.create(model=AGENT, input=QUESTION, instructions="Be brief.", metadata={"team": "red"})
        self.assertEqual((response.output_text, response.status, response.model), ("Warm.", "completed", AGENT))
        self.assertEqual([item.type for item in response.output], ["reasoning", "message"])
        self.assertEqual(response.output[0].content[0].text, "Hm.")
        self.assertEqual((response.instructions, response.metadata), ("Be brief.", {"team": "red"}))
        usage = response.usage
        self.assertEqual(usage.input_tokens + usage.output_tokens, usage.total_tokens)
        self.assertGreaterEqual(usage.input_tokens_details.cached_tokens, 0)
        self.assertGreaterEqual(usage.output_tokens_details.reasoning_tokens, 0)
        # Nothing that the SDK's own types would not accept.
        type(response).model_validate(response.model_dump(mode="json"), strict=False)

    def test_async(self):
        async def ask():
            async with openai.AsyncOpenAI(**OPTIONS) as client:
                stream = await client.responses.create(model=AGENT, input=QUESTION, stream=True)
                return "".join([event.delta async for event in stream if event.type == "response.output_text.delta"])

        script(say("Warm as ever."))
        self.assertEqual(asyncio.run(ask()), "Warm as ever.")

    def test_parse_gives_the_type(self):
        script(say(json.dumps(PARIS)))
        response = responses.parse(model=AGENT, input=QUESTION, text_format=Weather)
        self.assertEqual(response.output_parsed, Weather(**PARIS))


class Stream(unittest.TestCase):
    def test_events_are_numbered_and_typed(self):
        script(say("It is warm.", reasoning="Well."))
        events = list(responses.create(model=AGENT, input=QUESTION, stream=True))
        self.assertEqual([event.sequence_number for event in events], list(range(len(events))))
        for event in events:
            self.assertNotIn("Unknown", type(event).__name__)
            self.assertTrue(type(event).__name__.endswith("Event"), type(event))
            type(event).model_validate(event.model_dump(mode="json"), strict=False)
        self.assertEqual([events[0].type, events[-1].type], ["response.created", "response.completed"])

    def test_the_helper_accumulates_text(self):
        script(say("It is warm.", reasoning="Well.", piece_bytes=7))
        with responses.stream(model=AGENT, input=QUESTION) as stream:
            snapshots = [event.snapshot for event in stream if event.type == "response.output_text.delta"]
            response = stream.get_final_response()
        self.assertEqual((snapshots[-1], response.output_text), ("It is warm.", "It is warm."))
        self.assertGreater(len(snapshots), 1, "the answer came in one piece")

    def test_the_helper_parses(self):
        script(say(json.dumps(PARIS)))
        with responses.stream(model=AGENT, input=QUESTION, text_format=Weather) as stream:
            response = stream.get_final_response()
        self.assertEqual(response.output_parsed, Weather(**PARIS))

    def test_an_answer_that_breaks_off(self):
        script(say("It is", error_event={"error": {"message": "no", "code": "server_error"}}))
        events = list(responses.create(model=AGENT, input=QUESTION, stream=True))
        self.assertEqual([event.type for event in events[-2:]], ["error", "response.failed"])
        self.assertEqual(events[-1].response.error.code, "model_overloaded")
        self.assertEqual(events[-1].response.output_text, "It is")


class Tools(unittest.TestCase):
    def test_calls_go_round_in_a_history_of_the_clients_own(self):
        script(call(("report_weather", PARIS), ("report_weather", PARIS | {"city": "Lyon"}), content="Wait."), say("Done."))
        history = [{"role": "user", "content": QUESTION}]
        first = responses.create(model=AGENT, input=history, tools=[WEATHER], store=False)
        calls = [item for item in first.output if item.type == "function_call"]
        self.assertEqual([json.loads(item.arguments)["city"] for item in calls], ["Paris", "Lyon"])
        history += first.output
        history += [{"type": "function_call_output", "call_id": item.call_id, "output": "noted"} for item in calls]
        second = responses.create(model=AGENT, input=history, tools=[WEATHER], store=False)
        self.assertEqual(second.output_text, "Done.")
        self.assertEqual([message["role"] for message in messages(1)], ["user", "assistant", "tool", "tool"])

    def test_calls_go_round_by_reference_with_the_helper(self):
        script(call(("report_weather", PARIS)), say("Done."))
        with responses.stream(model=AGENT, input=QUESTION, tools=[WEATHER]) as stream:
            snapshots = [e.snapshot for e in stream if e.type == "response.function_call_arguments.delta"]
            first = stream.get_final_response()
        item = first.output[0]
        self.assertEqual((json.loads(snapshots[-1]), item.parsed_arguments), (PARIS, PARIS))
        output = {"type": "function_call_output", "call_id": item.call_id, "output": "noted"}
        second = responses.create(model=AGENT, input=[output], tools=[WEATHER], previous_response_id=first.id)
        self.assertEqual(second.output_text, "Done.")
        self.assertEqual([message["role"] for message in messages(1)], ["user", "assistant", "tool"])

    def test_the_agents_own_tools_stay_inside(self):
        script(call(("execute_python_script", {"script": "print(6 * 7)"})), say("It is 42."))
        response = responses.create(model=AGENT, input="What is 6 * 7?")
        self.assertEqual((response.output_text, len(response.output)), ("It is 42.", 1))
        self.assertEqual(messages(1)[-1]["content"].strip(), "42")


class Stored(unittest.TestCase):
    def test_a_conversation_goes_on(self):
        script(say("One."), say("Two."))
        first = responses.create(model=AGENT, input="one")
        second = responses.create(model=AGENT, input="two", previous_response_id=first.id)
        self.assertEqual([message["content"] for message in messages(1)], ["one", "One.", "two"])
        again = responses.retrieve(second.id)
        self.assertEqual((again, again.previous_response_id), (second, first.id))
        items = list(responses.input_items.list(second.id))
        self.assertEqual([item.content[0].text for item in items], ["two"])
        responses.delete(second.id)
        with self.assertRaises(openai.NotFoundError):
            responses.retrieve(second.id)


class Humans(unittest.TestCase):
    """D4: the agent asks whoever talks to it, and goes on with what they say."""

    def setUp(self):
        own = call(("execute_python_script", {"script": "print(6 * 7)"}))
        script(own, call(("ask-customer", {"question": "Which colour?"})), say("Bought."))
        # Conversations that are the same to the letter are told apart by nothing.
        self.question = f"One of them, please. {uuid.uuid4()}"

    def goes_on(self, asked, answer, **options):
        self.assertEqual((asked.output_text, asked.status, len(asked.output)), ("Which colour?", "completed", 1))
        response = responses.create(model=AGENT, input=answer, **options)
        self.assertEqual((response.output_text, response.status), ("Bought.", "completed"))
        read = messages(2)
        self.assertEqual([message["role"] for message in read], ["user", "assistant", "tool", "assistant", "tool"])
        self.assertEqual((read[2]["content"], json.loads(read[4]["content"])["result"]), ("42\n", "red"))

    def test_a_question_is_answered_by_reference(self):
        asked = responses.create(model=AGENT, input=self.question)
        self.goes_on(asked, "red", previous_response_id=asked.id)

    def test_a_streamed_question_is_answered_in_a_history_of_the_clients_own(self):
        with responses.stream(model=AGENT, input=self.question, store=False) as stream:
            asked = stream.get_final_response()
        history = [{"role": "user", "content": self.question}, *asked.output, {"role": "user", "content": "red"}]
        self.goes_on(asked, history, store=False)


class Errors(unittest.TestCase):
    def refused(self, error, **arguments):
        with self.assertRaises(error) as caught:
            responses.create(**{"model": AGENT, "input": QUESTION, **arguments})
        return caught.exception

    def test_they_are_the_sdks_own(self):
        self.assertEqual(self.refused(openai.NotFoundError, model="nobody").code, "model_not_found")
        unknown = self.refused(openai.BadRequestError, previous_response_id="resp_0")
        self.assertEqual((unknown.code, unknown.param), ("previous_response_not_found", "previous_response_id"))
        tool = self.refused(openai.BadRequestError, tools=[{"type": "web_search"}])
        self.assertEqual(tool.param, "tools[0].type")
        script({"error": {"status": 400, "message": "no"}})
        self.refused(openai.BadRequestError, stream=True)
        stranger = openai.OpenAI(**OPTIONS | {"api_key": "wrong"})
        with self.assertRaises(openai.AuthenticationError):
            stranger.responses.create(model=AGENT, input=QUESTION)


unittest.main(verbosity=2)
