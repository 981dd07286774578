"""GLSL programs of the bench's rasteriser, as far as they are its own."""

MESH_VERTEX = """
#version 330
in vec3 in_position;
in vec3 in_normal;
in vec2 in_uv;
uniform mat4 clip_from_world;
uniform mat3 world_from_object;
uniform vec3 position;
uniform vec3 scale;
out vec3 world;
out vec3 local;
out vec3 local_normal;
out vec3 normal;
out vec2 uv;
out float depth;
void main() {
    local = in_position * scale;
    local_normal = in_normal / scale;
    world = world_from_object * local + position;
    normal = world_from_object * local_normal;
    uv = in_uv;
    gl_Position = clip_from_world * vec4(world, 1.0);
    depth = gl_Position.w;
}
"""

# Where a surface point lies on its texture: the mesh's own uv, or tiles in metres on the axis the surface faces most.
_TEXTURE_POSITION = """
uniform sampler2D picture;
uniform float tile_m;
uniform vec2 uv_scale;
uniform bool cut_out;
vec2 texture_position(vec3 local, vec3 local_normal, vec2 uv) {
    if (tile_m <= 0.0) return uv * uv_scale;
    vec3 a = abs(local_normal);
    vec2 p = a.x > a.y ? (a.x > a.z ? local.yz : local.xy) : (a.y > a.z ? local.xz : local.xy);
    return p / tile_m * uv_scale;
}
"""

MESH_FRAGMENT = (
    """
#version 330
in vec3 world;
in vec3 local;
in vec3 local_normal;
in vec3 normal;
in vec2 uv;
in float depth;
uniform sampler2DShadow shadow_map;
uniform mat4 shadow_from_world;
uniform vec3 eye;
uniform vec3 up;
uniform vec3 sun_direction;
uniform vec3 sun_colour;
uniform vec3 ambient_up;
uniform vec3 ambient_down;
uniform vec4 lamp_position[4];
uniform vec3 lamp_colour[4];
uniform vec4 fog;
uniform float exposure;
uniform vec3 colour;
uniform vec4 material;
out vec4 picture_colour;
"""
    + _TEXTURE_POSITION
    + """
float lit(vec3 at) {
    vec3 p = (shadow_from_world * vec4(at, 1.0)).xyz * 0.5 + 0.5;
    if (any(lessThan(p, vec3(0.0))) || any(greaterThan(p, vec3(1.0)))) return 1.0;
    float step = 1.0 / float(textureSize(shadow_map, 0).x);
    float sum = 0.0;
    for (int i = 0; i < 4; ++i) {
        vec2 offset = (vec2(float(i & 1), float(i >> 1)) - 0.5) * step * 1.5;
        sum += texture(shadow_map, vec3(p.xy + offset, p.z - 0.0015));
    }
    return sum * 0.25;
}
void main() {
    vec2 at = texture_position(local, local_normal, uv);
    vec4 texel = texture(picture, at);
    if (cut_out && texel.a < 0.5) discard;
    vec3 albedo = pow(texel.rgb, vec3(2.2)) * colour;
    vec3 view = normalize(eye - world);
    vec3 n = normalize(normal);
    if (dot(n, view) < 0.0) n = -n;
    if (material.z > 0.0) {
        vec3 dx = dFdx(world), dy = dFdy(world);
        float height = dot(texel.rgb, vec3(0.33)) * material.z;
        vec3 r1 = cross(dy, n), r2 = cross(n, dx);
        float det = dot(dx, r1);
        vec3 bent = abs(det) * n - sign(det) * (dFdx(height) * r1 + dFdy(height) * r2);
        if (dot(bent, bent) > 0.0) n = normalize(bent);
    }
    vec3 sun = normalize(sun_direction);
    float facing = max(dot(n, sun), 0.0);
    float shadow = facing > 0.0 ? lit(world + normalize(normal) * sign(dot(normal, view)) * 0.004 * (1.0 + 0.05 * depth)) : 0.0;
    vec3 light = mix(ambient_down, ambient_up, dot(n, up) * 0.5 + 0.5) + sun_colour * facing * shadow;
    vec3 shine = sun_colour * shadow * pow(max(dot(n, normalize(sun + view)), 0.0), material.y);
    for (int i = 0; i < 4; ++i) {
        vec3 to_lamp = lamp_position[i].xyz - world;
        float r2 = dot(to_lamp, to_lamp);
        float reach = lamp_position[i].w;
        vec3 strength = lamp_colour[i] / (1.0 + r2 / (reach * reach));
        vec3 direction = to_lamp * inversesqrt(max(r2, 1e-6));
        light += strength * max(dot(n, direction), 0.0);
        shine += strength * pow(max(dot(n, normalize(direction + view)), 0.0), material.y);
    }
    vec3 radiance = mix(albedo * light, albedo * 1.5, material.w) + material.x * shine;
    radiance = mix(fog.rgb, radiance, exp(-fog.a * depth));
    picture_colour = vec4(pow(clamp(radiance * exposure, 0.0, 1.0), vec3(1.0 / 2.2)), 1.0);
}
"""
)

GEOMETRY_FRAGMENT = (
    """
#version 330
in vec3 local;
in vec3 local_normal;
in vec2 uv;
in float depth;
uniform float object_id;
out vec2 geometry;
"""
    + _TEXTURE_POSITION
    + """
void main() {
    if (cut_out && texture(picture, texture_position(local, local_normal, uv)).a < 0.5) discard;
    geometry = vec2(depth, object_id);
}
"""
)

SHADOW_VERTEX = """
#version 330
in vec3 in_position;
uniform mat4 clip_from_world;
uniform mat3 world_from_object;
uniform vec3 position;
uniform vec3 scale;
void main() { gl_Position = clip_from_world * vec4(world_from_object * (in_position * scale) + position, 1.0); }
"""
