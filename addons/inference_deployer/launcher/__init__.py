"""Starts vLLM in its own stock image with one import instead of three, or with none.

A directory of plain files, standard library and vLLM only, mounted into the pod from a ConfigMap and run with
`python3 DIRECTORY`:

    launcher [--mode shared|stock] -- <arguments of vLLM's OpenAI server>
    launcher --mode host

The launcher's own process stays small: it binds the port, watches the DataLoad, relays signals and the exit
status, and reports a timeline as an annotation of its Pod. The engine is its child:

shared  The child is forked by the node's engine host when there is one (warm), else from here (cold). Cold,
        it imports vLLM while the data is still being loaded. Weights are read once the DataLoad is complete.
        API server and engine core are vLLM's own code; the core is forked from the API server, so that
        nothing is imported twice (stock vLLM imports everything three times on a CPU).
stock   vLLM as it comes, for comparison.
host    The engine host: has imported vLLM, started no thread, forks an engine for each launcher that asks.
        It gets the pod's listening socket, standard streams and model directory as file descriptors, so it
        needs neither the pod's network namespace nor its mounts. An engine that it forks counts against the
        host's own memory and CPU, not the pod's; what it compiles lies in the pod's directory (compiled.py).
        It serves CPU engines only: the devices of a GPU pod are not in the host, so such a pod starts cold.

Environment: POD_NAME, POD_NAMESPACE, WAIT_FOR_DATALOAD=<namespace>/<name>, ENGINE_HOST_SOCKET, ENGINE_IMAGE,
COMPILED=<directory with compiled code that is carried from replica to replica, see compiled.py>.
"""
