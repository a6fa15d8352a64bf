# Bouillon in a container, without root: the engine by default, the page with `view`.
#
#   docker build -t bouillon .
#   docker run --rm -v "$PWD/work:/work" bouillon recipe=quickstart
#   docker run --rm -v "$PWD/work:/work" -p 5006:5006 bouillon view --address 0.0.0.0
FROM python:3.12-slim

RUN useradd --create-home --uid 1000 bouillon && mkdir /work && chown bouillon /work
COPY --chown=bouillon . /opt/bouillon
WORKDIR /opt/bouillon
USER bouillon
ENV VIRTUAL_ENV=/home/bouillon/venv PATH=/home/bouillon/venv/bin:$PATH PIP_NO_CACHE_DIR=1

RUN python -m venv "$VIRTUAL_ENV"
RUN pip install --quiet --constraint scripts/constraints.txt .
RUN bouillon --version

WORKDIR /work
EXPOSE 5006
ENTRYPOINT ["bouillon"]
CMD ["--help"]
