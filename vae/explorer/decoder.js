"use strict";

// Runs a decoder in the browser: latent code to expected image, as PyTorch computes it. Does not depend on the page.
const decoding = (() => {
  // Decodes base64 to a Float32Array: of little-endian float32, or of blocks of integers of few bits, where the scales
  // of all blocks come first and the integers, with half their range added, follow without gaps ("8-bit blocks").
  const BLOCK = 256;
  function numbers(text, precision = "float32") {
    const characters = atob(text);
    const content = new Uint8Array(characters.length).map((_, i) => characters.charCodeAt(i));
    if (precision === "float32") return new Float32Array(content.buffer);
    const bits = parseInt(precision, 10);
    const blocks = content.length / (4 + (BLOCK * bits) / 8);
    const scales = new Float32Array(content.buffer, 0, blocks);
    const half = 2 ** (bits - 1);
    let [held, kept, at] = [0, 0, 4 * blocks]; // bits that are read and not yet used, their number, the next byte
    return Float32Array.from({ length: BLOCK * blocks }, (_, i) => {
      for (; kept < bits; kept += 8) held = (held << 8) | content[at++];
      kept -= bits;
      const integer = held >> kept;
      held &= (1 << kept) - 1;
      return (integer - half) * scales[Math.floor(i / BLOCK)];
    });
  }

  // 1 - erf(x), with a relative error below 1.2e-7 (Press et al., Numerical Recipes, section 6.2).
  const ERFC = [
    -1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806, 0.27886807, -1.13520398, 1.48851587, -0.82215223,
    0.17087277,
  ];
  function erfc(x) {
    const t = 1 / (1 + 0.5 * Math.abs(x));
    let exponent = 0;
    for (let i = ERFC.length - 1; i >= 0; i--) exponent = exponent * t + ERFC[i];
    const tail = t * Math.exp(exponent - x * x);
    return x < 0 ? 2 - tail : tail;
  }

  const sigmoid = (x) => 1 / (1 + Math.exp(-x));

  const ACTIVATIONS = {
    relu: (x) => (x > 0 ? x : 0),
    tanh: Math.tanh,
    gelu: (x) => 0.5 * x * erfc(-x * Math.SQRT1_2),
    silu: (x) => x * sigmoid(x),
  };

  // The mean of a continuous Bernoulli with logit l: 1 / (1 - exp(-l)) - 1 / l, or its Taylor series near zero, where
  // the two terms cancel.
  const NEAR_ZERO = 0.25;
  function continuousBernoulliMean(l) {
    const distance = Math.abs(l);
    if (distance < NEAR_ZERO) {
      const square = l * l;
      return 0.5 + l * (1 / 12 - square * (1 / 720 - square * (1 / 30240 - square / 1209600)));
    }
    return 0.5 + Math.sign(l) * (1 / (1 - Math.exp(-distance)) - 1 / distance - 0.5);
  }

  // The mean of a logistic distribution whose tails are moved to 0 and 1: s·(softplus(μ / s) - softplus((μ - 1) / s)).
  const softplus = (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
  function logisticMean(location, logScale, constants) {
    const { initial_log_scale: initial, smallest_log_scale: smallest, largest_log_scale: largest } = constants;
    const scale = Math.exp(Math.min(Math.max(logScale + initial, smallest), largest));
    const mean = scale * (softplus(location / scale) - softplus((location - 1) / scale));
    return Math.min(Math.max(mean, 0), 1);
  }

  // Discretized logistic distributions: channels of locations, then of logarithms of scales.
  function discretizedLogistic({ values, shape: [outputs, height, width] }, constants) {
    const size = (outputs / 2) * height * width;
    const mean = (_, i) => logisticMean(values[i] + 0.5, values[size + i], constants);
    const means = Float32Array.from({ length: size }, mean);
    return { values: means, shape: [outputs / 2, height, width] };
  }

  // A mixture of K discretized logistic distributions. Each component has a logit, a location and the logarithm of a
  // scale for each channel, and a coefficient for each pair of channels.
  function discretizedLogisticMixture({ values, shape: [outputs, height, width] }, constants) {
    const { components } = constants;
    const each = outputs / components;
    const channels = [1, 2, 3, 4].find((count) => 1 + 2 * count + (count * (count - 1)) / 2 === each);
    const pixels = height * width;
    const means = new Float32Array(channels * pixels);
    for (let pixel = 0; pixel < pixels; pixel++) {
      const parameter = (component, index) => values[(component * each + index) * pixels + pixel];
      const logits = Array.from({ length: components }, (_, component) => parameter(component, 0));
      const largest = Math.max(...logits);
      const weights = logits.map((logit) => Math.exp(logit - largest));
      const total = weights.reduce((sum, weight) => sum + weight);
      for (let component = 0; component < components; component++) {
        const expected = [];
        for (let channel = 0, pair = 1 + 2 * channels; channel < channels; channel++) {
          let location = parameter(component, 1 + channel) + (2 * component + 1) / (2 * components);
          for (const before of expected) location += Math.tanh(parameter(component, pair++)) * (before - 0.5);
          expected.push(logisticMean(location, parameter(component, 1 + channels + channel), constants));
          means[channel * pixels + pixel] += (weights[component] / total) * expected[channel];
        }
      }
    }
    return { values: means, shape: [channels, height, width] };
  }

  // From the decoder's output to the expected image.
  const MEANS = {
    bernoulli: elementwise(sigmoid),
    continuous_bernoulli: elementwise(continuousBernoulliMean),
    gaussian: (state) => state,
    laplace: (state) => state,
    discretized_logistic: discretizedLogistic,
    discretized_logistic_mixture: discretizedLogisticMixture,
  };

  // Each layer takes its weights from the list of numbers when it is created, and maps {values, shape} to the same.
  const LAYERS = {
    linear({ inputs, outputs }, take) {
      const weight = take(outputs * inputs); // outputs × inputs
      const bias = take(outputs);
      return ({ values }) => {
        const result = new Float32Array(outputs);
        for (let row = 0, at = 0; row < outputs; row++) {
          let sum = bias[row];
          for (let column = 0; column < inputs; column++, at++) sum += weight[at] * values[column];
          result[row] = sum;
        }
        return { values: result, shape: [outputs] };
      };
    },

    reshape({ shape }) {
      return ({ values }) => ({ values, shape });
    },

    transposed_convolution(layer, take) {
      const weight = take(layer.inputs * layer.outputs * layer.kernel[0] * layer.kernel[1]);
      return transposedConvolution(layer, weight, take(layer.outputs));
    },

    // With a stride of one, a convolution is the transposed convolution with flipped kernels.
    convolution_3x3({ inputs, outputs }, take) {
      const weight = take(outputs * inputs * 9); // outputs × inputs × kernel
      const flipped = weight.map((_, i) => {
        const [from, to, place] = [Math.floor(i / (9 * outputs)), Math.floor(i / 9) % outputs, i % 9];
        return weight[(to * inputs + from) * 9 + 8 - place];
      });
      const layer = { inputs, outputs, kernel: [3, 3], stride: [1, 1], padding: [1, 1], output_padding: [0, 0] };
      return transposedConvolution(layer, flipped, take(outputs));
    },

    residual_block({ layers }, take) {
      const branch = sequence(layers, take);
      return (state) => {
        const { values, shape } = branch(state);
        return { values: values.map((value, i) => value + state.values[i]), shape };
      };
    },
  };

  // The weight is inputs × outputs × kernel.
  function transposedConvolution({ inputs, outputs, kernel, stride, padding, output_padding: more }, weight, bias) {
    return ({ values, shape: [, height, width] }) => {
      const outHeight = (height - 1) * stride[0] - 2 * padding[0] + kernel[0] + more[0];
      const outWidth = (width - 1) * stride[1] - 2 * padding[1] + kernel[1] + more[1];
      const result = new Float32Array(outputs * outHeight * outWidth);
      for (let to = 0; to < outputs; to++) {
        result.fill(bias[to], to * outHeight * outWidth, (to + 1) * outHeight * outWidth);
      }
      for (let from = 0, at = 0; from < inputs; from++) {
        for (let to = 0; to < outputs; to++) {
          for (let y = 0; y < kernel[0]; y++) {
            for (let x = 0; x < kernel[1]; x++, at++) {
              spread(weight[at], values, from, result, to, y - padding[0], x - padding[1]);
            }
          }
        }
      }
      return { values: result, shape: [outputs, outHeight, outWidth] };

      // Adds an input channel, times one weight of the kernel, to an output channel, at an offset and with a stride.
      function spread(factor, source, from, target, to, top, left) {
        const first = left < 0 ? Math.ceil(-left / stride[1]) : 0;
        const end = Math.min(width, Math.floor((outWidth - 1 - left) / stride[1]) + 1);
        for (let row = 0; row < height; row++) {
          const line = row * stride[0] + top;
          if (line < 0 || line >= outHeight) continue;
          const read = (from * height + row) * width;
          const write = (to * outHeight + line) * outWidth + left;
          for (let column = first; column < end; column++) {
            target[write + column * stride[1]] += factor * source[read + column];
          }
        }
      }
    };
  }

  // Layers one after another.
  function sequence(layers, take) {
    const steps = layers.map((layer) =>
      layer.kind in LAYERS ? LAYERS[layer.kind](layer, take) : elementwise(ACTIVATIONS[layer.kind]),
    );
    return (state) => steps.reduce((before, step) => step(before), state);
  }

  function elementwise(formula) {
    return ({ values, shape }) => ({ values: values.map((value) => formula(value)), shape });
  }

  // Builds a decoder from its description (layers, likelihood, the constants of logistic distributions, weights and
  // their precision): a function from a code, an array of D numbers, to the expected image, a Float32Array of C × H × W
  // intensities, which may leave [0, 1].
  function decoder({ layers, likelihood, logistic, weights, precision }) {
    const row = numbers(weights, precision);
    let taken = 0;
    const take = (count) => row.subarray(taken, (taken += count));
    const output = sequence(layers, take);
    const mean = MEANS[likelihood];
    return (code) => mean(output({ values: Float32Array.from(code), shape: [code.length] }), logistic).values;
  }

  return { decoder, numbers };
})();
