"""The agent of the comparison, as Haystack's documentation shows one, served by Hayhooks at OpenAI's paths."""
import os

from haystack.components.agents import Agent
from haystack.components.generators.chat import OpenAIChatGenerator
from haystack.dataclasses import ChatMessage
from haystack.utils import Secret
from hayhooks import BasePipelineWrapper, async_streaming_generator, get_last_user_message


class PipelineWrapper(BasePipelineWrapper):
    def setup(self) -> None:
        generator = OpenAIChatGenerator(
            model="scripted", api_key=Secret.from_token("sk-scripted"), api_base_url=os.environ["MODEL_URL"]
        )
        self.pipeline = Agent(chat_generator=generator, system_prompt="You are measured.")

    async def run_chat_completion_async(self, model: str, messages: list[dict], body: dict):
        question = ChatMessage.from_user(get_last_user_message(messages))
        return async_streaming_generator(pipeline=self.pipeline, pipeline_run_args={"messages": [question]})
