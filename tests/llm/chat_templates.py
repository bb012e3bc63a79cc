"""Chat templates in the shapes of real models, and a tokenizer for each."""

import json
import shutil

from dynamo_nb.llm.text.tokenizer import Tokenizer
from dynamo_nb.llm.tiny import tiny_model

TEMPLATES = {
    # Any role, content as a text
    "chatml": """\
{%- for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}""",
    # A system message only at the beginning, tool calls with arguments as an object (Qwen 2.5)
    "hermes": """\
{%- if tools %}{{- '<|im_start|>system\n' }}
{%- if messages[0]['role'] == 'system' %}{{- messages[0]['content'] }}{%- endif %}
{%- for tool in tools %}{{- "\n" }}{{- tool | tojson }}{%- endfor %}{{- '<|im_end|>\n' }}
{%- elif messages[0]['role'] == 'system' %}{{- '<|im_start|>system\n' + messages[0]['content'] + '<|im_end|>\n' }}
{%- endif %}
{%- for message in messages %}
{%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
{{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}
{%- elif message.role == "assistant" %}
{{- '<|im_start|>' + message.role }}
{%- if message.content %}{{- '\n' + message.content }}{%- endif %}
{%- for tool_call in message.tool_calls %}
{%- if tool_call.function is defined %}{%- set tool_call = tool_call.function %}{%- endif %}
{{- '\n<tool_call>\n{"name": "' }}{{- tool_call.name }}{{- '", "arguments": ' }}{{- tool_call.arguments | tojson }}{{- '}\n</tool_call>' }}
{%- endfor %}{{- '<|im_end|>\n' }}
{%- elif message.role == "tool" %}{{- '<|im_start|>user\n<tool_response>\n' + message.content + '\n</tool_response><|im_end|>\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}
{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\n\n</think>\n\n' }}{%- endif %}
{%- endif %}""",
    # Reasoning of earlier answers, the system message must be the first one (Qwen 3)
    "thinking": """\
{%- for message in messages %}
{%- if message.role == 'system' and not loop.first %}{{- raise_exception('System message must be at the beginning.') }}{%- endif %}
{%- set content = message.content if message.content is string else '' %}
{{- '<|im_start|>' + message.role + '\n' }}
{%- if message.reasoning_content is string %}{{- '<think>\n' + message.reasoning_content + '\n</think>\n' }}{%- endif %}
{{- content }}
{%- if message.tool_calls %}{%- for tool_call in message.tool_calls %}
{{- '<call ' + tool_call.function.name + '>' }}
{%- for name, value in tool_call.function.arguments | items %}{{- name + '=' + (value | tojson) + ';' }}{%- endfor %}
{%- endfor %}{%- endif %}
{{- '<|im_end|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}""",
    # Texts trimmed, one call in a message, keys tested by `in` (Llama 3.1)
    "header": """\
{{- bos_token }}
{%- if messages[0]['role'] == 'system' %}{%- set system_message = messages[0]['content'] | trim %}{%- set messages = messages[1:] %}
{%- else %}{%- set system_message = "" %}{%- endif %}
{{- "<system>" + system_message + "<eot>" }}
{%- for message in messages %}
{%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
{{- '<' + message['role'] + '>' + message['content'] | trim + '<eot>' }}
{%- elif 'tool_calls' in message %}
{%- if not message.tool_calls | length == 1 %}{{- raise_exception("This model only supports single tool-calls at once!") }}{%- endif %}
{%- set tool_call = message.tool_calls[0].function %}
{{- '<assistant>{"name": "' + tool_call.name + '", "parameters": ' }}{{- tool_call.arguments | tojson }}{{- "}<eot>" }}
{%- elif message.role == "tool" or message.role == "ipython" %}
{{- "<ipython>" }}{%- if message.content is mapping or message.content is iterable %}{{- message.content | tojson }}{%- else %}{{- message.content }}{%- endif %}{{- "<eot>" }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<assistant>' }}{%- endif %}""",
    # Users and assistants in turns, ids of calls, keys tested by `is defined` (Mistral)
    "turns": """\
{%- if messages[0]["role"] == "system" %}{%- set system_message = messages[0]["content"] %}{%- set loop_messages = messages[1:] %}
{%- else %}{%- set loop_messages = messages %}{%- endif %}
{{- bos_token }}
{%- for message in loop_messages %}
{%- if message["role"] == "user" %}{{- "[INST]" }}{%- if loop.last and system_message is defined %}{{- system_message + "\n\n" }}{%- endif %}{{- message["content"] + "[/INST]" }}
{%- elif message.tool_calls is defined and message.tool_calls is not none %}{{- "[TOOL_CALLS][" }}
{%- for tool_call in message.tool_calls %}
{{- tool_call.function | tojson }}
{%- if not tool_call.id is defined %}{{- raise_exception("Tool call IDs should be defined") }}{%- endif %}{{- tool_call.id }}
{%- endfor %}{{- "]" + eos_token }}
{%- elif message["role"] == "assistant" %}{{- " " + message["content"] | trim + eos_token }}
{%- elif message["role"] == "tool" %}{{- '[TOOL_RESULTS]' + message.content | string + (message.tool_call_id or '') + '[/TOOL_RESULTS]' }}
{%- else %}{{- raise_exception("Only user and assistant roles are supported, with the exception of an initial optional system message!") }}
{%- endif %}
{%- endfor %}""",
    # Content as a text or as parts (Gemma 3)
    "either": """\
{{- bos_token }}
{%- if messages[0]['role'] == 'system' -%}
{%- if messages[0]['content'] is string -%}{%- set first_user_prefix = messages[0]['content'] + '\n\n' -%}
{%- else -%}{%- set first_user_prefix = messages[0]['content'][0]['text'] + '\n\n' -%}{%- endif -%}
{%- set loop_messages = messages[1:] -%}
{%- else -%}{%- set first_user_prefix = "" -%}{%- set loop_messages = messages -%}{%- endif -%}
{%- for message in loop_messages -%}
{%- if (message['role'] == 'assistant') -%}{%- set role = "model" -%}{%- else -%}{%- set role = message['role'] -%}{%- endif -%}
{{ '<start_of_turn>' + role + '\n' + (first_user_prefix if loop.first else "") }}
{%- if message['content'] is string -%}{{ message['content'] | trim }}
{%- elif message['content'] is iterable -%}
{%- for item in message['content'] -%}
{%- if item['type'] == 'image' -%}{{ '<start_of_image>' }}{%- elif item['type'] == 'text' -%}{{ item['text'] | trim }}{%- endif -%}
{%- endfor -%}
{%- else -%}{{ raise_exception("Invalid content type") }}{%- endif -%}
{{ '<end_of_turn>\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<start_of_turn>model\n' }}{%- endif -%}""",
    # Content only as parts (SmolVLM)
    "parts": """\
{%- for message in messages %}{{ message['role'] | capitalize }}:
{%- for line in message['content'] %}{% if line['type'] == 'text' %}{{ line['text'] }}{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end>
{% endfor %}{%- if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}""",
    # Parts through a macro (Qwen 3 VL)
    "macro": """\
{%- macro render_content(value) %}
{%- if value is string %}{{- value }}{%- else %}{%- for item in value %}{%- if 'image' in item %}{{- '<image>' }}{%- elif 'text' in item %}{{- item.text }}{%- endif %}{%- endfor %}{%- endif %}
{%- endmacro %}
{%- for message in messages %}{{- '<|im_start|>' + message.role + '\n' }}{{- render_content(message.content) }}{{- '<|im_end|>\n' }}{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}""",
    # Parts through a variable
    "variable": """\
{%- for message in messages %}{%- set content = message['content'] %}
{{- '<' + message['role'] + '>' }}{%- for item in content %}{{- item['text'] }}{%- endfor %}{{- '\n' }}
{%- endfor %}""",
    # Parts of users, but the system message as a text (Llama 3.2 Vision)
    "mixed": """\
{%- if messages[0]['role'] == 'system' %}{%- set system_message = messages[0]['content'] | trim %}{%- set messages = messages[1:] %}
{%- else %}{%- set system_message = "" %}{%- endif %}
{{- "<system>" + system_message + "<eot>" }}
{%- for message in messages %}{{- '<' + message['role'] + '>' }}
{%- if message['content'] is string %}{{- message['content'] }}{%- else %}{%- for content in message['content'] %}{%- if content['type'] == 'image' %}{{- '<|image|>' }}{%- elif content['type'] == 'text' %}{{- content['text'] }}{%- endif %}{%- endfor %}{%- endif %}
{{- '<eot>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<assistant>' }}{%- endif %}""",
    # A template that knows developers, their tools and the effort (gpt-oss)
    "developer": """\
{%- if messages[0].role == "developer" or messages[0].role == "system" %}{%- set developer_message = messages[0].content %}{%- set loop_messages = messages[1:] %}
{%- else %}{%- set developer_message = "" %}{%- set loop_messages = messages %}{%- endif %}
{{- "<|start|>system Reasoning: " + (reasoning_effort or "medium") + "<|end|>" }}
{%- if developer_message %}{{- "<|start|>developer " + developer_message + "<|end|>" }}{%- endif %}
{%- for message in loop_messages %}
{{- "<|start|>" + message.role }}{%- if message.name is defined %}{{- " " + message.name }}{%- endif %}
{%- if message.role == "assistant" and "reasoning" in message %}{{- "<|channel|>analysis " + message.reasoning }}{%- endif %}
{{- "<|message|>" + (message.content or "") }}{%- for call in message.tool_calls or [] %}{{- call.function.name + (call.function.arguments | tojson) }}{%- endfor %}{{- "<|end|>" }}
{%- endfor %}
{%- if add_generation_prompt %}{{- "<|start|>assistant" }}{%- endif %}""",
    # Documents, and a variable that a template has no default for
    "documents": """\
{%- for document in documents or [] %}{{- document.title + ": " + document.text + "\n" }}{%- endfor %}
{%- for message in messages %}{{- "<" + message.role + " " + (tone or "plain") + ">" + message.content + "\n" }}{%- endfor %}
{%- if add_generation_prompt %}{{- "<assistant>" }}{%- if not enable_thinking %}{{- "<think></think>" }}{%- endif %}{%- endif %}""",
    # Everything that a message has: what a client adds must not be in it
    "whole": """\
{%- for message in messages %}{{- message.keys() | sort | join(',') }}={{ message.content }};
{%- for call in message.tool_calls or [] %}{{- call.keys() | sort | join(',') }}:{{ call.function.keys() | sort | join(',') }}{%- endfor %}
{%- endfor %}""",
}


def tokenizer_with(folder, template):
    """The tokenizer of the tiny model with another chat template, or with a dict of them."""
    shutil.copytree(tiny_model(), folder, ignore=shutil.ignore_patterns("*.safetensors"), dirs_exist_ok=True)
    path = folder / "tokenizer_config.json"
    templates = (
        [{"name": name, "template": text} for name, text in template.items()]
        if isinstance(template, dict)
        else template
    )
    path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": templates}))
    return Tokenizer(str(folder))
