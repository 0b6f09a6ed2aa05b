import Glibc

// float64 functions of the C library, under names that do not clash with the kernels'.

func referenceExponential(_ x: Double) -> Double { exp(x) }
func referenceLogarithm(_ x: Double) -> Double { log(x) }
func referencePower(_ x: Double, _ y: Double) -> Double { pow(x, y) }
func referenceCosineAndSine(_ x: Double) -> (Double, Double) { (cos(x), sin(x)) }

/// The derivative of `function` at `point` along `direction`, by central differences.
func centralDifference(_ point: [Double], along direction: [Double], _ function: ([Double]) -> Double) -> Double {
    let step = 1e-5
    let above = zip(point, direction).map { $0 + step * $1 }
    let below = zip(point, direction).map { $0 - step * $1 }
    return (function(above) - function(below)) / (2 * step)
}
