"""The configuration files of the Dynamo SDK's LLM examples, releases 0.1 to 0.3.2, retold: same keys, other values."""

TRANSFER = """'{"kv_connector":"DynamoNixlConnector"}'"""

AGG = """
Common:
  model: org/model-8b
  block-size: 64
  max-model-len: 16384

Frontend:
  served_model_name: org/model-8b
  endpoint: dynamo.Processor.chat/completions
  port: 8000

Processor:
  router: round-robin
  router-num-threads: 4
  common-configs: [model, block-size, max-model-len]

VllmWorker:
  enforce-eager: true
  max-num-batched-tokens: 16384
  enable-prefix-caching: true
  ServiceArgs:
    workers: 1
    resources:
      gpu: 1
  common-configs: [model, block-size, max-model-len]

Planner:
  environment: kubernetes
"""

AGG_ROUTER = f"""
Common:
  model: org/model-8b
  router: kv
  block-size: 64
  max-model-len: 16384
  kv-transfer-config: {TRANSFER}

Frontend:
  served_model_name: org/model-8b
  endpoint: dynamo.Processor.chat/completions
  port: 8000

Processor:
  common-configs: [model, block-size, max-model-len, router]

Router:
  min-workers: 1
  common-configs: [model, router]

VllmWorker:
  enforce-eager: true
  max-num-batched-tokens: 16384
  enable-prefix-caching: true
  tensor-parallel-size: 1
  ServiceArgs:
    workers: 2
    resources:
      gpu: 1
  common-configs: [model, block-size, max-model-len, router, kv-transfer-config]

Planner:
  environment: local
  no-operation: true
"""

PREFILL_WORKER = """
PrefillWorker:
  max-num-batched-tokens: 16384
  ServiceArgs:
    workers: 1
    resources:
      gpu: 1
  common-configs: [model, block-size, max-model-len, kv-transfer-config]

Planner:
  environment: kubernetes
"""

DISAGG = f"""
Common:
  model: org/model-8b
  block-size: 64
  max-model-len: 16384
  kv-transfer-config: {TRANSFER}

Frontend:
  served_model_name: org/model-8b
  endpoint: dynamo.Processor.chat/completions
  port: 8000

Processor:
  router: round-robin
  common-configs: [model, block-size]

VllmWorker:
  remote-prefill: true
  conditional-disagg: true
  max-local-prefill-length: 10
  max-prefill-queue-size: 2
  ServiceArgs:
    workers: 1
    resources:
      gpu: 1
  common-configs: [model, block-size, max-model-len, kv-transfer-config]
{PREFILL_WORKER}"""

DISAGG_ROUTER = f"""
Common:
  model: org/model-8b
  block-size: 64
  max-model-len: 16384
  router: kv
  kv-transfer-config: {TRANSFER}

Frontend:
  served_model_name: org/model-8b
  endpoint: dynamo.Processor.chat/completions
  port: 8000

Processor:
  common-configs: [model, block-size, max-model-len, router]

Router:
  min-workers: 1
  common-configs: [model, router]

VllmWorker:
  max-num-batched-tokens: 16384
  remote-prefill: true
  conditional-disagg: true
  max-local-prefill-length: 10
  max-prefill-queue-size: 2
  tensor-parallel-size: 1
  enable-prefix-caching: true
  ServiceArgs:
    workers: 1
    resources:
      gpu: 1
  common-configs: [model, block-size, max-model-len, router, kv-transfer-config]
{PREFILL_WORKER}"""

EACH_ITS_OWN = f"""
# without Common; one model over several machines
Frontend:
  served_model_name: org/model-405b
  endpoint_chat: dynamo.Processor.chat/completions
  endpoint_completions: dynamo.Processor.completions
  port: 8000

Processor:
  model: org/model-405b
  block-size: 64
  max-model-len: 8192
  router: kv

Router:
  model: org/model-405b
  min-workers: 1

VllmWorker:
  model: org/model-405b
  kv-transfer-config: {TRANSFER}
  block-size: 64
  max-model-len: 8192
  max-num-seqs: 16
  remote-prefill: true
  conditional-disagg: true
  max-local-prefill-length: 10
  max-prefill-queue-size: 2
  gpu-memory-utilization: 0.95
  tensor-parallel-size: 8
  router: kv
  quantization: modelopt
  enable-prefix-caching: true
  ServiceArgs:
    workers: 1
    resources:
      gpu: '8'

PrefillWorker:
  model: org/model-405b
  kv-transfer-config: {TRANSFER}
  block-size: 64
  max-model-len: 8192
  max-num-seqs: 16
  gpu-memory-utilization: 0.95
  tensor-parallel-size: 8
  quantization: modelopt
  ServiceArgs:
    workers: 1
    resources:
      gpu: '8'
"""

MULTINODE_AGG = """
Common:
  model: org/model-r
  block-size: 64
  max-model-len: 16384

Frontend:
  served_model_name: org/model-r
  endpoint_chat: dynamo.Processor.chat/completions
  endpoint_completions: dynamo.Processor.completions
  port: 8000

Processor:
  router: round-robin
  common-configs: [model, block-size, max-model-len]

VllmWorker:
  enforce-eager: true
  max-num-batched-tokens: 16384
  enable-prefix-caching: true
  router: random
  tensor-parallel-size: 16
  ServiceArgs:
    workers: 1
    resources:
      gpu: '1'
  common-configs: [model, block-size, max-model-len]
"""

MULTINODE_DISAGG = f"""
Common:
  model: org/model-r
  block-size: 64
  max-model-len: 16384
  kv-transfer-config: {TRANSFER}
  tensor-parallel-size: 16

Frontend:
  served_model_name: org/model-r
  endpoint_chat: dynamo.Processor.chat/completions
  endpoint_completions: dynamo.Processor.completions
  port: 8000

Processor:
  router: round-robin
  common-configs: [model, block-size]

VllmWorker:
  remote-prefill: true
  conditional-disagg: false
  ServiceArgs:
    workers: 1
    resources:
      gpu: '16'
  common-configs: [model, block-size, max-model-len, kv-transfer-config, tensor-parallel-size]

PrefillWorker:
  max-num-batched-tokens: 16384
  ServiceArgs:
    workers: 1
    resources:
      gpu: '16'
  common-configs: [model, block-size, max-model-len, kv-transfer-config, tensor-parallel-size]
"""

BENCHMARK = f"""
Common:
  model: org/model-70b
  kv-transfer-config: {TRANSFER}
  router: round-robin
  block-size: 128
  max-model-len: 3500
  max-num-batched-tokens: 3500
  gpu-memory-utilization: 0.95
  disable-log-requests: true

Frontend:
  served_model_name: org/model-70b
  endpoint: dynamo.Processor.chat/completions
  port: 8000

Processor:
  common-configs: [model, router]

VllmWorker:
  common-configs: [model, kv-transfer-config, block-size, max-model-len, gpu-memory-utilization, disable-log-requests]
  remote-prefill: true
  conditional-disagg: false
  tensor-parallel-size: 4
  ServiceArgs:
    workers: 1
    resources:
      gpu: 4

PrefillWorker:
  common-configs: [model, kv-transfer-config, block-size, max-model-len, max-num-batched-tokens,
                   gpu-memory-utilization, disable-log-requests]
  tensor-parallel-size: 1
  ServiceArgs:
    workers: 4
    resources:
      gpu: 1
"""

FILES = {
    "agg": AGG,
    "agg_router": AGG_ROUTER,
    "disagg": DISAGG,
    "disagg_router": DISAGG_ROUTER,
    "multinode_own": EACH_ITS_OWN,
    "multinode_agg": MULTINODE_AGG,
    "multinode_disagg": MULTINODE_DISAGG,
    "benchmark": BENCHMARK,
}
GRAPHS = {"multinode_own": "disagg_router", "multinode_agg": "agg", "multinode_disagg": "disagg", "benchmark": "disagg"}
"""The graph that is served with each file, where its name is another."""
