# xbar-spice with ngspice; the build stops where that lacks the KLU solver. The gate does not build it.
#
#   docker build -t xbar-spice .
#   docker run --rm xbar-spice doctor
#   docker run --rm -v "$PWD:/work" xbar-spice train digits-conv --output weights.npz
FROM debian:trixie-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ngspice libngspice0 python3 python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && ngspice --version | grep 'Compiled with KLU'
COPY . /opt/xbar-spice
RUN python3 -m venv /opt/venv \
    && PIP_CONSTRAINT=/opt/xbar-spice/constraints.txt PIP_BUILD_CONSTRAINT=/opt/xbar-spice/constraints.txt \
       /opt/venv/bin/pip install --no-cache-dir /opt/xbar-spice \
    && useradd --create-home user && install -d -o user /work
ENV PATH=/opt/venv/bin:$PATH
USER user
WORKDIR /work
ENTRYPOINT ["xbar-spice"]
CMD ["--help"]
